import { randomBytes } from "node:crypto"
import { type FileHandle, mkdir, open } from "node:fs/promises"
import { dirname } from "node:path"
import { UnsealError } from "../../errors.ts"
import { formatCrc32 } from "../../format/crc32.ts"
import type { CreateOptions, PartWriter, WrittenPart } from "../contract.ts"
import { checkCrc32, checkLength, checkParts, partBytes } from "../part-checks.ts"
import { type PartLimits, partSizeWithin } from "../part-size.ts"
import { commit, removeUpload, type Upload } from "./commit.ts"
import { fileError, systemCode } from "./errors.ts"
import { beginJournal, noteVoid, noteWritten, readJournal } from "./journal.ts"
import { isToken, targetOf, uploadFilesOf } from "./names.ts"
import { checkDirectory, exists, FILE_MODE } from "./object.ts"

/** A directory takes any number of parts of any size. */
const LIMITS: PartLimits = {
  store: "a directory",
  smallest: 1,
  largest: Number.MAX_SAFE_INTEGER,
  most: Number.POSITIVE_INFINITY,
}

/** The part size for any object: `partSizeWithin` no limits. */
export const partSizeFor = (preferred: number): number => partSizeWithin(LIMITS, 0, preferred)

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
    const partSize = partSizeFor(preferredPartSize)
    await mkdir(dirname(target), { recursive: true })
    try {
      await (await open(files.temporary, "wx", FILE_MODE)).close()
      await beginJournal(files.journal, size, partSize)
    } catch (error) {
      // Nobody knows its token, so nobody else would end it.
      await removeUpload(target, begun).catch(() => {})
      throw error
    }
    return fileWriter({ directory, target, key, size, partSize, options, token: begun, ...files })
  } catch (error) {
    throw await uploadError(error, "create", target, directory, signal)
  }
}

async function findUpload(target: string, token: string, size: number) {
  const files = isToken(token) ? uploadFilesOf(target, token) : null
  const journal = files && (await readJournal(files.journal))
  if (!files || journal?.size !== size || !(await exists(files.temporary)))
    throw new UnsealError("ERR_UPLOAD_GONE", `the token names no upload of ${size} bytes to ${target}`)
  return { ...files, partSize: journal.partSize }
}

function fileWriter(upload: Upload): PartWriter {
  const { directory, target, temporary, journal, size, partSize } = upload
  // A part has no note in the journal while it is written, because it may be half old and half new.
  const noted = new Set<number>()

  async function written(): Promise<ReadonlyMap<number, WrittenPart>> {
    const found = await readJournal(journal)
    for (const number of found?.parts.keys() ?? []) noted.add(number)
    return found?.parts ?? new Map()
  }

  return {
    token: upload.token,
    resumable: true,
    keepsBodies: false,
    partSize,
    async written(signal) {
      signal.throwIfAborted()
      try {
        return await written()
      } catch (error) {
        throw await uploadError(error, "read", journal, directory, signal)
      }
    },
    async writePart(number, body, crc32, signal) {
      signal.throwIfAborted()
      const label = `part ${number} of ${target}`
      const bytes = partBytes(number, size, partSize)
      checkLength(body, bytes, label)
      checkCrc32(body, crc32, label)
      const part = { size: bytes, tag: formatCrc32(crc32) }
      try {
        if (noted.size === 0) await written()
        if (noted.has(number)) await noteVoid(journal, number)
        await writeAt(temporary, (number - 1) * partSize, body, signal)
        await noteWritten(journal, number, part)
        noted.add(number)
        return part
      } catch (error) {
        throw await uploadError(error, `write of part ${number}`, temporary, directory, signal)
      }
    },
    async complete(parts, signal) {
      signal.throwIfAborted()
      checkParts(parts, size, partSize)
      try {
        return await commit(upload, parts, signal)
      } catch (error) {
        throw await uploadError(error, "complete", target, directory, signal)
      }
    },
    abort: () => removeUpload(target, upload.token),
  }
}

/** An upload's files don't disappear by themselves: somebody removed them, or the whole directory is gone. */
async function uploadError(
  error: unknown,
  operation: string,
  path: string,
  directory: string,
  signal: AbortSignal,
): Promise<unknown> {
  if (signal.aborted || systemCode(error) !== "ENOENT") return fileError(error, operation, path, signal)
  try {
    await checkDirectory(directory)
  } catch (missing) {
    return missing
  }
  return new UnsealError("ERR_UPLOAD_GONE", `${operation} of ${path} failed: ENOENT`, { cause: error })
}

async function writeAt(
  file: string,
  position: number,
  body: readonly Uint8Array[],
  signal: AbortSignal,
): Promise<void> {
  // Must not create the file: an upload that was aborted meanwhile would come back as half a file.
  const handle = await open(file, "r+")
  try {
    // After a crash between link and clean-up, this file is the visible object, which no part may touch.
    if ((await handle.stat()).nlink > 1)
      throw new UnsealError("ERR_UPLOAD_GONE", `the upload ${file} is complete already`)
    let at = position
    for (const chunk of body) {
      // A write that hung may end long after its run did.
      signal.throwIfAborted()
      await writeAll(handle, chunk, at)
      at += chunk.length
    }
    await handle.datasync()
    signal.throwIfAborted()
  } finally {
    await handle.close()
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done)
    done += bytesWritten
  }
}
