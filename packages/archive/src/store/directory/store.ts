/**
 * A directory of this machine, or of a mount.
 *
 * A key is a relative path. While an object is being written, it is a hidden file `.NAME.unseal-TOKEN` beside its target. A
 * journal `.NAME.unseal-TOKEN.parts` lists the parts that are safely on the disk. `complete` links the file to its name (or
 * renames it, if it may replace an object), so a name holds a whole object or none. Metadata is a hidden file of its own,
 * bound to its version.
 *
 * It relies on: link and rename are atomic within a directory, fdatasync keeps what was written, and writing a file in place
 * changes its size or modification time. Files are accessible only to their owner (0600).
 */
import { constants, type Dirent } from "node:fs"
import { type FileHandle, open, opendir, stat } from "node:fs/promises"
import { dirname, join, relative } from "node:path"
import { counted } from "../../counted.ts"
import { UnsealError } from "../../errors.ts"
import type { ByteRange } from "../../format/parts.ts"
import type { ArchiveSource, OpenedStore, OpenUpload, PartWriter, StoredObject } from "../contract.ts"
import { openInTwo } from "../open-in-two.ts"
import type { AdapterOptions } from "../options.ts"
import type { FileStoreUrl } from "../url.ts"
import { BUFFER_SIZE, giveBuffer, takeBuffer } from "./buffers.ts"
import { removeUpload } from "./commit.ts"
import { fileError, systemCode } from "./errors.ts"
import { parseUploadName, targetOf } from "./names.ts"
import { checkDirectory, etagOf, removeFile, statFile } from "./object.ts"
import { directoryThreads, type Threads } from "./threads.ts"
import { createFileWriter, partSizeFor } from "./writer.ts"

/** Opens a directory as a store. It must exist. Directories below it are created as keys need them. */
export async function openFileStore(
  { directory }: FileStoreUrl,
  options: AdapterOptions,
): Promise<OpenedStore> {
  const threads = directoryThreads(directory, options.env)
  const source: Pick<ArchiveSource, "stat" | "read"> = {
    stat: (key, signal) =>
      threads.run(async () => {
        const object = await statFile(targetOf(directory, key), key)
        if (!object) await checkDirectory(directory)
        signal.throwIfAborted()
        return object
      }, signal),
    read: (object, range, signal) => readFileRange(directory, threads, object, range, signal),
  }
  return {
    ...source,
    location: `file://${directory}`,
    open: (key, length, signal) => openInTwo(source, key, length, signal),
    partSizeFor: () => partSizeFor(options.partSizeBytes),
    async create(key, size, createOptions, signal) {
      const begin = () => createFileWriter(directory, key, size, createOptions, options.partSizeBytes, signal)
      return onThreads(await threads.run(begin, signal), threads)
    },
    openUploads: (signal, key) => listUploads(directory, threads, signal, key),
    abortUpload: (upload, signal) =>
      threads.run(() => removeUpload(targetOf(directory, upload.key), upload.token), signal),
    remove: (key, signal) =>
      threads.run(async () => {
        if (!(await removeFile(targetOf(directory, key)))) await checkDirectory(directory)
      }, signal),
    async close() {},
  }
}

const onThreads = (writer: PartWriter, threads: Threads): PartWriter => ({
  ...writer,
  written: (signal) => threads.run(() => writer.written(signal), signal),
  writePart: (number, body, crc32, signal) =>
    threads.run(() => writer.writePart(number, body, crc32, signal), signal),
  complete: (parts, signal) => threads.run(() => writer.complete(parts, signal), signal),
  abort: () => threads.run(() => writer.abort()),
})

async function* readFileRange(
  directory: string,
  threads: Threads,
  object: StoredObject,
  range: ByteRange,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const target = targetOf(directory, object.key)
  const file = createReader(directory, object, target)
  try {
    for (let at = range.start; at < range.end; ) {
      const piece = await threads.run(() => file.read(at, range.end, signal), signal)
      at += piece.length
      yield piece
      signal.throwIfAborted()
    }
  } catch (error) {
    throw fileError(error, "read", target, signal)
  } finally {
    file.close()
  }
}

/** Opens a file and a buffer with the first read, and releases both once the last read has ended, however late. */
function createReader(directory: string, object: StoredObject, target: string) {
  const buffer = takeBuffer()
  let handle: FileHandle | undefined
  let reading: Promise<unknown> = Promise.resolve()

  async function read(at: number, end: number, signal: AbortSignal): Promise<Uint8Array> {
    if (handle === undefined) {
      handle = await openForReading(directory, target)
      await checkVersion(handle, object, target)
      signal.throwIfAborted()
    }
    const { bytesRead } = await handle.read(buffer, 0, Math.min(BUFFER_SIZE, end - at), at)
    if (bytesRead === 0) {
      await checkVersion(handle, object, target)
      throw new UnsealError("ERR_STORE_UNAVAILABLE", `${target} gave ${at} bytes instead of ${end}`)
    }
    // Checked before the last bytes are passed on: they may include bytes that were written in place meanwhile.
    if (at + bytesRead === end) await checkVersion(handle, object, target)
    return buffer.subarray(0, bytesRead)
  }

  return {
    read(at: number, end: number, signal: AbortSignal): Promise<Uint8Array> {
      const piece = read(at, end, signal)
      reading = piece.catch(() => {})
      return piece
    },
    close(): void {
      void reading.then(async () => {
        giveBuffer(buffer)
        await handle?.close().catch(() => {})
      })
    },
  }
}

async function openForReading(directory: string, target: string): Promise<FileHandle> {
  try {
    // Non-blocking, because opening a named pipe without a writer would wait for ever.
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
      `${target} is no longer the version of ${counted(object.size, "byte")} with ETag ${object.etag}`,
    )
}

async function* listUploads(
  directory: string,
  threads: Threads,
  signal: AbortSignal,
  only?: string,
): AsyncGenerator<OpenUpload> {
  await threads.run(() => checkDirectory(directory), signal)
  // An upload lies beside its target, so there is no need to look at all the others.
  const target = only === undefined ? null : targetOf(directory, only)
  const pending = [target === null ? directory : dirname(target)]
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const found = new Set<string>()
    try {
      for await (const entry of entriesOf(path, threads, signal)) {
        if (entry.isDirectory() && target === null) pending.push(join(path, entry.name))
        const upload = entry.isFile() ? parseUploadName(entry.name) : null
        // Either of an upload's two files stands for it, because a crash may have left only one.
        if (!upload || found.has(upload.token)) continue
        if (target !== null && join(path, upload.name) !== target) continue
        const startedAt = await threads.run(() => startOf(join(path, entry.name)), signal)
        if (!startedAt) continue
        found.add(upload.token)
        yield { key: relative(directory, join(path, upload.name)), token: upload.token, startedAt }
      }
    } catch (error) {
      if (systemCode(error) !== "ENOENT") throw fileError(error, "list", path, signal)
    }
  }
}

async function* entriesOf(path: string, threads: Threads, signal: AbortSignal): AsyncGenerator<Dirent> {
  const entries = await threads.run(() => opendir(path), signal)
  try {
    for (;;) {
      const entry = await threads.run(() => entries.read(), signal)
      if (entry === null) return
      yield entry
    }
  } finally {
    // It waits for a pending read, however long that takes.
    void entries.close().catch(() => {})
  }
}

async function startOf(path: string): Promise<Date | null> {
  try {
    const { birthtime, mtime } = await stat(path)
    // Not every file system has it, and an upload from 1970 would look abandoned.
    return birthtime.getTime() > 0 ? birthtime : mtime
  } catch (error) {
    if (systemCode(error) === "ENOENT") return null
    throw error
  }
}
