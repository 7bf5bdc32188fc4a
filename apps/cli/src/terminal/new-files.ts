import { randomBytes } from "node:crypto"
import { link, lstat, mkdir, open, rename, unlink } from "node:fs/promises"
import { dirname, join } from "node:path"
import { UsageError } from "./exit.ts"

/** A file to be created. */
export interface NewFile {
  readonly path: string
  readonly content: Uint8Array
  /** Makes the file readable only by its owner. */
  readonly isSecret: boolean
}

/**
 * Writes either all files or none. Never replaces one: throws `UsageError` if one exists. A file appears under its name only when
 * it is complete and on the disk, and others can never read a secret one.
 */
export async function writeNewFiles(files: readonly NewFile[]): Promise<void> {
  await refuseExisting(files.map(({ path }) => path))
  const written: string[] = []
  try {
    for (const file of files) {
      await writeNewFile(file)
      written.push(file.path)
    }
  } catch (error) {
    for (const path of written) await unlink(path)
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    // The one after the files that were written. The error may name its temporary file, or none.
    const { path } = files[written.length]!
    throw new UsageError(
      `${path} can't be written: ${whyUnwritten(code, dirname(path))}; nothing was written`,
    )
  }
}

function whyUnwritten(code: string, folder: string): string {
  if (code === "ENOSPC" || code === "EDQUOT") return `no space is left in ${folder} (${code})`
  if (code === "EROFS") return `${folder} is on a file system that is read-only`
  if (code === "EACCES" || code === "EPERM") return `this user may not write to ${folder} (${code})`
  // A file is in the way of a folder that is to be created.
  if (code === "EEXIST" || code === "ENOTDIR") return `${folder} is a file, or leads through one`
  return code
}

/** Throws `UsageError` if one of `paths` already exists. */
export async function refuseExisting(paths: readonly string[]): Promise<void> {
  for (const path of paths) if (await exists(path)) throw existing(path)
}

const existing = (path: string) =>
  new UsageError(
    `${path} exists already, and is not replaced: a key may be the only one that opens some archive`,
  )

const exists = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  )

async function writeNewFile({ path, content, isSecret }: NewFile): Promise<void> {
  // A folder made for a secret is for its owner alone.
  await mkdir(dirname(path), { recursive: true, mode: isSecret ? 0o700 : 0o755 })
  const temporary = join(dirname(path), `.unseal-${randomBytes(6).toString("hex")}.tmp`)
  const file = await open(temporary, "wx", isSecret ? 0o600 : 0o644)
  try {
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await publish(temporary, path)
  } catch (error) {
    await unlink(temporary).catch(() => {})
    throw error
  }
}

/** Unlike a rename, a link does not replace what somebody else has just created. */
async function publish(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path)
    await unlink(temporary)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === "EEXIST") throw existing(path)
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(code ?? "")) throw error
    // Some file systems have no links.
    await refuseExisting([path])
    await rename(temporary, path)
  }
}
