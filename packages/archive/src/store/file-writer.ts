import { randomBytes } from "node:crypto"
import { type FileHandle, link, mkdir, open, rename, rm, stat } from "node:fs/promises"
import { dirname } from "node:path"
import { crc32 } from "node:zlib"
import { UnsealError } from "../errors.ts"
import { bytesOf, checkParts, crc32Of, partBytes } from "./adapter.ts"
import type { CreateOptions, PartWriter, StoredObject, WrittenPart } from "./contract.ts"
import { fileError, systemCode } from "./file-errors.ts"
import { beginJournal, noteVoid, noteWritten, readJournal } from "./file-journal.ts"
import { isToken, targetOf, type UploadFiles, uploadFilesOf } from "./file-names.ts"
import {
  checkDirectory,
  etagOf,
  FILE_MODE,
  removeMetadata,
  statFile,
  syncDirectory,
  writeMetadata,
} from "./file-object.ts"

interface Upload extends UploadFiles {
  readonly directory: string
  readonly target: string
  readonly key: string
  readonly size: number
  readonly partSize: number
  readonly token: string
  readonly options: CreateOptions
}

/** The preferred part size as whole AES blocks: a file has no limits of its own. */
export const choosePartSize = (preferred: number): number => Math.ceil(preferred / 16) * 16

/** Begins or resumes an object: `ArchiveSink.create` for a directory. */
export async function createFileWriter(
  directory: string,
  key: string,
  size: number,
  options: CreateOptions,
  preferredPartSize: number,
  signal: AbortSignal,
): Promise<PartWriter> {
  signal.throwIfAborted()
  const target = targetOf(directory, key)
  try {
    await checkDirectory(directory)
    const { token } = options
    if (token !== undefined) {
      const upload = await findUpload(target, token, size)
      return fileWriter({ directory, target, key, size, options, token, ...upload })
    }
    const begun = randomBytes(8).toString("hex")
    const files = uploadFilesOf(target, begun)
    const partSize = choosePartSize(preferredPartSize)
    await mkdir(dirname(target), { recursive: true })
    await (await open(files.temporary, "wx", FILE_MODE)).close()
    await beginJournal(files.journal, size, partSize)
    return fileWriter({ directory, target, key, size, partSize, options, token: begun, ...files })
  } catch (error) {
    throw fileError(error, "create", target, signal)
  }
}

async function findUpload(target: string, token: string, size: number) {
  const files = isToken(token) ? uploadFilesOf(target, token) : null
  const journal = files && (await readJournal(files.journal))
  if (!files || journal?.size !== size || !(await isThere(files.temporary)))
    throw new UnsealError("ERR_OBJECT_NOT_FOUND", `the token names no upload of ${size} bytes to ${target}`)
  return { ...files, partSize: journal.partSize }
}

function fileWriter(upload: Upload): PartWriter {
  const { target, temporary, journal, size, partSize } = upload
  // A part that is being written has no note in the journal: it may be half old and half new.
  const noted = new Set<number>()

  async function written(): Promise<ReadonlyMap<number, WrittenPart>> {
    const found = await readJournal(journal)
    for (const number of found?.parts.keys() ?? []) noted.add(number)
    return found?.parts ?? new Map()
  }

  return {
    token: upload.token,
    partSize,
    async written(signal) {
      signal.throwIfAborted()
      try {
        return await written()
      } catch (error) {
        throw fileError(error, "read", journal, signal)
      }
    },
    async writePart(number, body, crc32, signal) {
      signal.throwIfAborted()
      const part = checkPart(number, body, crc32, upload)
      try {
        if (noted.size === 0) await written()
        if (noted.has(number)) await noteVoid(journal, number)
        await writeAt(temporary, (number - 1) * partSize, body, signal)
        await noteWritten(journal, number, part)
        noted.add(number)
        return part
      } catch (error) {
        throw fileError(error, `write of part ${number}`, temporary, signal)
      }
    },
    async complete(parts, signal) {
      signal.throwIfAborted()
      checkParts(parts, size, partSize)
      try {
        return await complete(upload, parts, signal)
      } catch (error) {
        throw fileError(error, "complete", target, signal)
      }
    },
    abort: () => removeUpload(target, upload.token),
  }
}

function checkPart(
  number: number,
  body: readonly Uint8Array[],
  expected: number,
  upload: Upload,
): WrittenPart {
  const bytes = bytesOf(body)
  const whole = partBytes(number, upload.size, upload.partSize)
  if (bytes !== whole)
    throw new RangeError(`part ${number} of ${upload.target} has ${bytes} bytes instead of ${whole}`)
  const actual = crc32Of(body)
  if (actual !== expected >>> 0)
    throw new UnsealError(
      "ERR_STORE_UNAVAILABLE",
      `part ${number} of ${upload.target} has the CRC-32 ${hex(actual)} instead of ${hex(expected >>> 0)}`,
    )
  return { size: bytes, tag: hex(actual) }
}

const hex = (sum: number): string => sum.toString(16).padStart(8, "0")

async function writeAt(
  file: string,
  position: number,
  body: readonly Uint8Array[],
  signal: AbortSignal,
): Promise<void> {
  // Not a flag that creates: the upload may have been aborted by now, and must not come back as half a file.
  const handle = await open(file, "r+")
  try {
    let at = position
    for (const chunk of body)
      for (let start = 0; start < chunk.length; ) {
        signal.throwIfAborted()
        const { bytesWritten } = await handle.write(chunk, start, chunk.length - start, at)
        start += bytesWritten
        at += bytesWritten
      }
    await handle.datasync()
    signal.throwIfAborted()
  } finally {
    await handle.close()
  }
}

async function complete(
  upload: Upload,
  parts: ReadonlyMap<number, WrittenPart>,
  signal: AbortSignal,
): Promise<StoredObject> {
  const { target, temporary, journal, options } = upload
  const held = await readJournal(journal)
  if (!held || !(await isThere(temporary))) return settle(upload, parts, signal)
  for (const [number, part] of parts)
    if (held.parts.get(number)?.tag !== part.tag)
      throw new UnsealError("ERR_STORE_UNAVAILABLE", `part ${number} of ${target} was written anew since`)

  const etag = await finish(upload)
  await writeMetadata(target, etag, options.metadata)
  signal.throwIfAborted()
  const published = options.existing === "fail" ? await publishNew(upload) : await publishOver(upload)
  if (!published) {
    // A crash between the link and its clean-up leaves the target as this very file: then the metadata is the target's.
    const current = await statFile(target, upload.key)
    if (current?.etag !== etag) await removeMetadata(target, etag)
    const object = await settle(upload, parts, signal)
    await removeUpload(target, upload.token)
    return object
  }
  await removeUpload(target, upload.token)
  await syncPath(upload)
  const object = await statFile(target, upload.key)
  if (!object)
    throw new UnsealError("ERR_OBJECT_NOT_FOUND", `${target} was removed as soon as it was complete`)
  return object
}

/** The whole file on the disk, and the version that it will be: a link or a rename changes neither. */
async function finish({ temporary, size }: Upload): Promise<string> {
  const handle = await open(temporary, "r+")
  try {
    const found = (await handle.stat()).size
    if (found < size)
      throw new UnsealError("ERR_STORE_UNAVAILABLE", `${temporary} has ${found} bytes instead of ${size}`)
    if (found > size) await handle.truncate(size)
    await handle.sync()
    return etagOf(await handle.stat({ bigint: true }))
  } finally {
    await handle.close()
  }
}

/** False if something is there already. */
async function publishNew({ target, temporary }: Upload): Promise<boolean> {
  try {
    await link(temporary, target)
    return true
  } catch (error) {
    const code = systemCode(error) ?? ""
    if (code === "EEXIST") return false
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"].includes(code)) throw error
  }
  // A file system without hard links (FAT, some network mounts): between two writers of one name, the later one stays.
  if (await isThere(target)) return false
  await rename(temporary, target)
  return true
}

async function publishOver({ target, temporary, key }: Upload): Promise<boolean> {
  const before = await statFile(target, key)
  await rename(temporary, target)
  if (before) await removeMetadata(target, before.etag)
  return true
}

/**
 * What is under the name, if it is this object: the bytes are compared by the checksums of the parts, so it does not matter
 * whether this upload, another one or an earlier attempt put it there.
 */
async function settle(
  { target, key, size, partSize, options }: Upload,
  parts: ReadonlyMap<number, WrittenPart>,
  signal: AbortSignal,
): Promise<StoredObject> {
  const found = await statFile(target, key)
  if (found?.size === size && (await hasParts(target, partSize, parts, signal))) return found
  if (options.existing === "fail" && (await isThere(target)))
    throw new UnsealError(
      "ERR_DESTINATION_EXISTS",
      `${target} holds ${found ? `another object of ${found.size} bytes` : "something that is no file"}, where one of ${size} bytes was to appear`,
    )
  throw new UnsealError(
    "ERR_OBJECT_NOT_FOUND",
    `the upload to ${target} is gone, and the object is not there`,
  )
}

async function hasParts(
  target: string,
  partSize: number,
  parts: ReadonlyMap<number, WrittenPart>,
  signal: AbortSignal,
): Promise<boolean> {
  const handle = await open(target, "r")
  try {
    for (const [number, part] of parts)
      if (hex(await crc32At(handle, (number - 1) * partSize, part.size, signal)) !== part.tag) return false
    return true
  } finally {
    await handle.close()
  }
}

async function crc32At(
  handle: FileHandle,
  position: number,
  size: number,
  signal: AbortSignal,
): Promise<number> {
  const buffer = Buffer.allocUnsafe(Math.min(size, 1024 * 1024))
  let sum = 0
  for (let done = 0; done < size; ) {
    signal.throwIfAborted()
    const length = Math.min(buffer.length, size - done)
    const { bytesRead } = await handle.read(buffer, 0, length, position + done)
    if (bytesRead === 0) break
    sum = crc32(buffer.subarray(0, bytesRead), sum)
    done += bytesRead
  }
  return sum
}

/** Removes the hidden files of an upload; no error if they are gone. The journal goes first: without it nothing is resumed. */
export async function removeUpload(target: string, token: string): Promise<void> {
  if (!isToken(token)) return
  const { temporary, journal } = uploadFilesOf(target, token)
  try {
    await rm(journal, { force: true })
    const stats = await stat(temporary, { bigint: true }).catch(() => null)
    // Metadata that was written for a version that will never be visible.
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

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(systemCode(error) ?? "")) return false
    throw error
  }
}
