import { randomBytes } from "node:crypto"
import { link, lstat, mkdir, open, rename, unlink } from "node:fs/promises"
import { dirname, join } from "node:path"
import { UsageError } from "./exit.ts"

/** A file that is to be there afterwards. */
export interface NewFile {
  readonly path: string
  readonly content: Uint8Array
  /** Only the owner may read it. */
  readonly isSecret: boolean
}

/**
 * Writes all files, or none. None is replaced: `UsageError` if one exists. A file appears under its name only when it is whole
 * and on the disk, and at no time can others read a secret one.
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
    // The one after those that were written; the error may name its temporary file, or none.
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
  // What is in the way of a folder that would be made.
  if (code === "EEXIST" || code === "ENOTDIR") return `${folder} is a file, or leads through one`
  return code
}

/** `UsageError` if one of `paths` is there already. */
export async function refuseExisting(paths: readonly string[]): Promise<void> {
  for (const path of paths) if (await isThere(path)) throw existing(path)
}

const existing = (path: string) =>
  new UsageError(
    `${path} exists already, and a key may be the only one that opens some archive: it is not replaced`,
  )

const isThere = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  )

async function writeNewFile({ path, content, isSecret }: NewFile): Promise<void> {
  // What is made for a secret is for its owner alone.
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

/** A link, unlike a rename, does not replace what somebody else has just made. */
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
