/** Files that people keep beside a program: keys, passphrases, callbacks. Anything may have such a name. */
import { constants } from "node:fs"
import { type FileHandle, open, stat } from "node:fs/promises"
import { readPipe } from "./pipe.ts"

/** Bytes. Keys and callbacks are far smaller. */
export const SMALL_FILE_LIMIT = 1024 * 1024

/** The path is not a regular file, or too large. The message is a clause without the path. */
export class NotASmallFile extends Error {
  override readonly name = "NotASmallFile"
}

export interface SmallFile {
  /** May be secret: wipe it after use. */
  readonly content: Buffer
  /** Whether users other than owner and group may read it. */
  readonly isPublic: boolean
}

/**
 * Reads a regular file of at most 1 MiB. With `pipes` also a pipe, as from a shell's `<(…)`, until that signal is aborted.
 * Otherwise never waits for a pipe, and never reads a device. Throws `NotASmallFile`, the reason of the signal, or the system's
 * error.
 */
export async function readSmallFile(
  path: string,
  { pipes }: { readonly pipes?: AbortSignal | undefined } = {},
): Promise<SmallFile> {
  if (pipes !== undefined && (await stat(path)).isFIFO())
    return { content: await contentOfPipe(path, pipes), isPublic: false }
  // Non-blocking, because opening a pipe without a writer would wait for ever, before its kind is known.
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stats = await handle.stat()
    if (!stats.isFile())
      throw new NotASmallFile(`is ${stats.isDirectory() ? "a directory" : "not a regular file"}`)
    return { content: await readAll(handle, stats.size), isPublic: (stats.mode & 0o004) !== 0 }
  } finally {
    await handle.close()
  }
}

async function contentOfPipe(path: string, signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = []
  let total = 0
  try {
    for await (const chunk of readPipe(path, signal)) {
      chunks.push(chunk)
      total += chunk.length
      if (total > SMALL_FILE_LIMIT) throw tooLarge()
    }
    return Buffer.concat(chunks)
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    for (const chunk of chunks) chunk.fill(0)
  }
}

const tooLarge = (): NotASmallFile =>
  new NotASmallFile(`has more than the ${SMALL_FILE_LIMIT} bytes that are read`)

async function readAll(handle: FileHandle, size: number): Promise<Buffer> {
  if (size > SMALL_FILE_LIMIT)
    throw new NotASmallFile(`has ${size} bytes, more than the ${SMALL_FILE_LIMIT} that are read`)
  const chunks: Buffer[] = []
  const buffer = Buffer.alloc(Math.max(4096, size + 1))
  try {
    for (let total = 0; ; ) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, null)
      if (bytesRead === 0) return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
      total += bytesRead
      if (total > SMALL_FILE_LIMIT) throw tooLarge()
      chunks.push(Buffer.from(buffer.subarray(0, bytesRead)))
    }
  } finally {
    // Pieces of a secret, which are copied by now.
    buffer.fill(0)
    if (chunks.length > 1) for (const chunk of chunks) chunk.fill(0)
  }
}

/** Why a file could not be read, without its path: the system's code, or the message of `NotASmallFile`. */
export const whyUnread = (error: unknown): string =>
  error instanceof NotASmallFile
    ? `it ${error.message}`
    : ((error as NodeJS.ErrnoException).code ?? String(error))
