import { link, open, rename, rm, stat } from "node:fs/promises"
import { dirname } from "node:path"
import { counted } from "../../counted.ts"
import { UnsealError } from "../../errors.ts"
import type { CreateOptions, StoredObject, WrittenPart } from "../contract.ts"
import { hasParts } from "./content.ts"
import { fileError, systemCode } from "./errors.ts"
import { readJournal } from "./journal.ts"
import { isSameFile, isToken, type UploadFiles, uploadFilesOf } from "./names.ts"
import { etagOf, exists, removeMetadata, statFile, syncDirectory, writeMetadata } from "./object.ts"

/** An object that is being written to a directory. */
export interface Upload extends UploadFiles {
  readonly directory: string
  readonly target: string
  readonly key: string
  readonly size: number
  readonly partSize: number
  readonly token: string
  readonly options: CreateOptions
}

/** Makes an upload visible from exactly `parts`: `PartWriter.complete`, but with untranslated system errors. */
export async function commit(
  upload: Upload,
  parts: ReadonlyMap<number, WrittenPart>,
  signal: AbortSignal,
): Promise<StoredObject> {
  const { target, temporary, journal, options } = upload
  const held = await readJournal(journal)
  if (!held || !(await exists(temporary))) return settleCommit(upload, parts, signal)
  for (const [number, part] of parts)
    if (held.parts.get(number)?.tag !== part.tag)
      throw new UnsealError(
        "ERR_STORE_UNAVAILABLE",
        `part ${number} of ${target} was written again in the meantime`,
      )

  const etag = await finish(upload)
  await writeMetadata(target, etag, options.metadata, { partSize: upload.partSize, parts })
  signal.throwIfAborted()
  const published = options.existing === "fail" ? await publishNew(upload) : await publishOver(upload, etag)
  if (!published) {
    // After a crash between link and clean-up, the target is this very file, and the metadata is the target's.
    const current = await statFile(target, upload.key)
    if (!current || !isSameFile(current.etag, etag)) await removeMetadata(target, etag)
    const object = await settleCommit(upload, parts, signal)
    await removeUpload(target, upload.token)
    return object
  }
  await removeUpload(target, upload.token)
  await syncPath(upload)
  const object = await statFile(target, upload.key)
  if (!object)
    throw new UnsealError("ERR_STORE_UNAVAILABLE", `${target} was removed as soon as it was complete`)
  return object
}

/** Syncs the whole file to the disk. Returns its future version, which neither a link nor a rename changes. */
async function finish({ temporary, size }: Upload): Promise<string> {
  const handle = await open(temporary, "r+")
  try {
    const found = (await handle.stat()).size
    if (found < size)
      throw new UnsealError(
        "ERR_STORE_UNAVAILABLE",
        `${temporary} has ${counted(found, "byte")} instead of ${size}`,
      )
    if (found > size) await handle.truncate(size)
    await handle.sync()
    return etagOf(await handle.stat({ bigint: true }))
  } finally {
    await handle.close()
  }
}

/** Returns `false` if the target already exists. */
async function publishNew({ target, temporary }: Upload): Promise<boolean> {
  try {
    await link(temporary, target)
    return true
  } catch (error) {
    const code = systemCode(error) ?? ""
    if (code === "EEXIST") return false
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"].includes(code)) throw error
  }
  // On a file system without hard links (FAT, some network mounts), the later of two writers of one name wins.
  if (await exists(target)) return false
  await rename(temporary, target)
  return true
}

async function publishOver({ target, temporary, key }: Upload, etag: string): Promise<boolean> {
  const before = await statFile(target, key)
  await rename(temporary, target)
  if (before && !isSameFile(before.etag, etag)) await removeMetadata(target, before.etag)
  return true
}

/**
 * The object under the name, if it is this one. The bytes are compared by the parts' checksums, so it does not matter which
 * upload or attempt put it there.
 */
async function settleCommit(
  { target, key, size, partSize, options }: Upload,
  parts: ReadonlyMap<number, WrittenPart>,
  signal: AbortSignal,
): Promise<StoredObject> {
  const found = await statFile(target, key)
  if (found?.size === size && (await hasParts(target, partSize, parts, signal))) return found
  if (options.existing === "fail" && (await exists(target)))
    throw new UnsealError(
      "ERR_DESTINATION_EXISTS",
      `${target} holds ${found ? `another object of ${counted(found.size, "byte")}` : "something that is not a file"}, where one of ${counted(size, "byte")} should be`,
    )
  throw new UnsealError("ERR_UPLOAD_GONE", `the upload to ${target} is gone, and the object is not there`)
}

/** Removes an upload's hidden files; no error if they are gone. The journal goes first: without it nothing is resumed. */
export async function removeUpload(target: string, token: string): Promise<void> {
  if (!isToken(token)) return
  const { temporary, journal } = uploadFilesOf(target, token)
  try {
    await rm(journal, { force: true })
    const stats = await stat(temporary, { bigint: true }).catch(() => null)
    // This metadata is of a version that will never become visible.
    if (stats?.nlink === 1n) await removeMetadata(target, etagOf(stats))
    await rm(temporary, { force: true })
  } catch (error) {
    if (systemCode(error) !== "ENOTDIR") throw fileError(error, "abort", target)
  }
}

async function syncPath({ directory, target }: Upload): Promise<void> {
  let path = dirname(target)
  while (path.length > directory.length && path.startsWith(directory)) {
    await syncDirectory(path)
    path = dirname(path)
  }
  await syncDirectory(directory)
}
