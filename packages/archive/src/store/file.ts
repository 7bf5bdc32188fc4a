/**
 * A directory of this machine, or of a mount.
 *
 * A key is a relative path. An object on its way is a hidden file `.NAME.unseal-TOKEN` beside its target, with a journal
 * `.NAME.unseal-TOKEN.parts` of the parts that are safely on the disk; `complete` links it to its name (or renames it, if it
 * may replace what is there), so a name holds a whole object or none. Metadata, if there is any, is a hidden file of its
 * own, bound to the version that it belongs to.
 *
 * Relied on: link and rename are atomic within a directory, fdatasync keeps what was written, and a file that is written in
 * place gets another size or modification time. Files are made for their owner alone (0600).
 */
import { constants } from "node:fs"
import { type FileHandle, open, opendir, stat } from "node:fs/promises"
import { dirname, join, relative } from "node:path"
import { UnsealError } from "../errors.ts"
import type { ByteRange } from "../format/parts.ts"
import { type AdapterOptions, type OpenedStore, openInTwo } from "./adapter.ts"
import type { ArchiveSource, OpenUpload, StoredObject } from "./contract.ts"
import { fileError, systemCode } from "./file-errors.ts"
import { parseUploadName, targetOf } from "./file-names.ts"
import { checkDirectory, etagOf, removeFile, statFile } from "./file-object.ts"
import { removeUpload } from "./file-publish.ts"
import { choosePartSize, createFileWriter } from "./file-writer.ts"
import type { FileStoreUrl } from "./url.ts"

const READ_SIZE = 512 * 1024

/**
 * Memory that reads are done into and no read is using: a new one for each piece costs a quarter of the time in page faults and
 * collections (`npm run bench -- --chapter files`). As many as the command line has parts in flight.
 */
const reserve: Buffer[] = []
const RESERVE = 8

/** Opens a directory as a store. It must be there; directories below it are made as keys need them. */
export async function openFileStore(
  { directory }: FileStoreUrl,
  options: AdapterOptions,
): Promise<OpenedStore> {
  const source: Pick<ArchiveSource, "stat" | "read"> = {
    async stat(key, signal) {
      signal.throwIfAborted()
      const object = await statFile(targetOf(directory, key), key)
      if (!object) await checkDirectory(directory)
      signal.throwIfAborted()
      return object
    },
    read: (object, range, signal) => readFileRange(directory, object, range, signal),
  }
  return {
    ...source,
    location: `file://${directory}`,
    open: (key, length, signal) => openInTwo(source, key, length, signal),
    partSizeFor: () => choosePartSize(options.partSizeBytes),
    create: (key, size, createOptions, signal) =>
      createFileWriter(directory, key, size, createOptions, options.partSizeBytes, signal),
    openUploads: (signal, key) => listUploads(directory, signal, key),
    async abortUpload(upload, signal) {
      signal.throwIfAborted()
      await removeUpload(targetOf(directory, upload.key), upload.token)
    },
    async remove(key, signal) {
      signal.throwIfAborted()
      if (!(await removeFile(targetOf(directory, key)))) await checkDirectory(directory)
    },
    async close() {},
  }
}

async function* readFileRange(
  directory: string,
  object: StoredObject,
  range: ByteRange,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const target = targetOf(directory, object.key)
  signal.throwIfAborted()
  const handle = await openForReading(directory, target)
  const buffer = reserve.pop() ?? Buffer.allocUnsafeSlow(READ_SIZE)
  try {
    await checkVersion(handle, object, target)
    for (let at = range.start; at < range.end; ) {
      const { bytesRead } = await handle.read(buffer, 0, Math.min(READ_SIZE, range.end - at), at)
      signal.throwIfAborted()
      if (bytesRead === 0) {
        await checkVersion(handle, object, target)
        throw new UnsealError("ERR_STORE_UNAVAILABLE", `${target} gave ${at} bytes instead of ${range.end}`)
      }
      at += bytesRead
      // Before the last bytes go out: whatever was written in place meanwhile may be among them.
      if (at === range.end) await checkVersion(handle, object, target)
      yield buffer.subarray(0, bytesRead)
      signal.throwIfAborted()
    }
  } catch (error) {
    throw fileError(error, "read", target, signal)
  } finally {
    if (reserve.length < RESERVE) reserve.push(buffer)
    await handle.close()
  }
}

async function openForReading(directory: string, target: string): Promise<FileHandle> {
  try {
    // Not blocking: a named pipe without a writer would wait for ever.
    return await open(target, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (systemCode(error) === "ENOENT") await checkDirectory(directory)
    throw fileError(error, "open", target)
  }
}

async function checkVersion(handle: FileHandle, object: StoredObject, target: string): Promise<void> {
  const stats = await handle.stat({ bigint: true })
  if (!stats.isFile()) throw new UnsealError("ERR_OBJECT_NOT_FOUND", `${target} is not a file`)
  if (etagOf(stats) !== object.etag)
    throw new UnsealError(
      "ERR_OBJECT_CHANGED",
      `${target} is no longer the version of ${object.size} bytes with ETag ${object.etag}`,
    )
}

async function* listUploads(
  directory: string,
  signal: AbortSignal,
  only?: string,
): AsyncGenerator<OpenUpload> {
  signal.throwIfAborted()
  await checkDirectory(directory)
  // Beside its target, an upload is found without a look at all the others.
  const target = only === undefined ? null : targetOf(directory, only)
  const pending = [target === null ? directory : dirname(target)]
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const found = new Set<string>()
    try {
      for await (const entry of await opendir(path)) {
        signal.throwIfAborted()
        if (entry.isDirectory() && target === null) pending.push(join(path, entry.name))
        const upload = entry.isFile() ? parseUploadName(entry.name) : null
        // Either of an upload's two files stands for it: a crash may have left only one.
        if (!upload || found.has(upload.token)) continue
        if (target !== null && join(path, upload.name) !== target) continue
        const startedAt = await startOf(join(path, entry.name))
        if (!startedAt) continue
        found.add(upload.token)
        yield { key: relative(directory, join(path, upload.name)), token: upload.token, startedAt }
      }
    } catch (error) {
      if (systemCode(error) !== "ENOENT") throw fileError(error, "list", path, signal)
    }
  }
}

async function startOf(path: string): Promise<Date | null> {
  try {
    const { birthtime, mtime } = await stat(path)
    // Not every file system knows it, and what began in 1970 would look like an orphan.
    return birthtime.getTime() > 0 ? birthtime : mtime
  } catch (error) {
    if (systemCode(error) === "ENOENT") return null
    throw error
  }
}
