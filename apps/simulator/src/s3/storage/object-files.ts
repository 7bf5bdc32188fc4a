/**
 * The bytes of parts and objects. Each is one file, written once, never changed, and removed when nothing refers to it. So
 * readers of a replaced object can finish, and completing a multipart upload moves no bytes.
 */
import { randomUUID } from "node:crypto"
import { type FileHandle, mkdtemp, open, rm, unlink } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

const WRITE_BATCH_BYTES = 1024 * 1024
const READ_BUFFER_BYTES = 512 * 1024
const SPARE_BUFFERS = 16

export interface StoredFile {
  readonly path: string
  readonly size: number
}

/** Bytes from `start` up to, but not including, `end`. */
export interface Span {
  readonly start: number
  readonly end: number
}

export class ObjectFiles {
  readonly #directory: string
  readonly #spare: Buffer[] = []

  private constructor(directory: string) {
    this.#directory = directory
  }

  /** Keeps its files in a new directory under `parent`. */
  static async create(parent = tmpdir()): Promise<ObjectFiles> {
    return new ObjectFiles(await mkdtemp(join(parent, "unseal-s3-")))
  }

  /** Writes `chunks` to a file. Leaves no file if they throw. */
  async write(chunks: AsyncIterable<Buffer>): Promise<StoredFile> {
    const path = join(this.#directory, randomUUID())
    const handle = await open(path, "wx")
    try {
      const size = await writeBatches(handle, chunks)
      await handle.close()
      return { path, size }
    } catch (error) {
      await handle.close()
      await unlink(path)
      throw error
    }
  }

  /**
   * The bytes of `span` in the concatenated `files`. A chunk is valid only until the next one is requested: its memory is
   * reused for the chunk after that.
   */
  async *read(files: readonly StoredFile[], span: Span): AsyncGenerator<Buffer> {
    let offset = 0
    for (const file of files) {
      const start = Math.max(span.start - offset, 0)
      const end = Math.min(span.end - offset, file.size)
      offset += file.size
      if (start < end) yield* this.#readFile(file.path, start, end)
    }
  }

  async *#readFile(path: string, start: number, end: number): AsyncGenerator<Buffer> {
    const handle = await open(path, "r")
    let filling = this.#takeBuffer()
    let emptying = this.#takeBuffer()
    let next: Promise<number> | undefined
    try {
      next = fill(handle, filling, start, end)
      for (let at = start; at < end; ) {
        const size = await next
        ;[filling, emptying] = [emptying, filling]
        at += size
        next = fill(handle, filling, at, end)
        yield emptying.subarray(0, size)
      }
    } finally {
      // A pending read still writes to its buffer. Until it ends, the buffer can't be reused and the file can't be closed.
      await next?.catch(() => 0)
      await handle.close()
      this.#spare.push(...[filling, emptying].slice(0, SPARE_BUFFERS - this.#spare.length))
    }
  }

  #takeBuffer(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(READ_BUFFER_BYTES)
  }

  async remove(files: Iterable<StoredFile>): Promise<void> {
    for (const file of files) await unlink(file.path)
  }

  /** Removes all files. */
  async destroy(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true })
  }
}

async function fill(handle: FileHandle, buffer: Buffer, at: number, end: number): Promise<number> {
  const wanted = Math.min(buffer.length, end - at)
  if (wanted === 0) return 0
  const { bytesRead } = await handle.read(buffer, 0, wanted, at)
  if (bytesRead === 0) throw new Error(`object file ended ${end - at} bytes early`)
  return bytesRead
}

/** Writes in large pieces, one while the next arrives. */
async function writeBatches(handle: FileHandle, chunks: AsyncIterable<Buffer>): Promise<number> {
  let total = 0
  let batch: Buffer[] = []
  let batched = 0
  let writing: Promise<void> = Promise.resolve()

  const flush = async (): Promise<void> => {
    const [buffers, bytes] = [batch, batched]
    ;[batch, batched] = [[], 0]
    await writing
    writing = handle.writev(buffers).then(({ bytesWritten }) => {
      if (bytesWritten < bytes) throw new Error(`wrote ${bytesWritten} of ${bytes} bytes: is the disk full?`)
    })
    // The next await throws its failure. Until then it must not count as unhandled.
    writing.catch(() => {})
  }

  try {
    for await (const chunk of chunks) {
      batch.push(chunk)
      batched += chunk.length
      total += chunk.length
      if (batched >= WRITE_BATCH_BYTES) await flush()
    }
    if (batched > 0) await flush()
  } finally {
    await writing
  }
  return total
}
