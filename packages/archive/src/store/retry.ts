import { setTimeout as sleep } from "node:timers/promises"
import { type ErrorCode, isUnsealError } from "../errors.ts"
import type { ByteRange } from "../format/parts.ts"
import type { ArchiveStore, PartWriter, StoredObject } from "./contract.ts"

export interface RetryOptions {
  /** Tries of one request that may fail in a row before the failure is passed on; 5 if left out. */
  readonly attempts?: number | undefined
  /** The first pause is up to so long, and each further one up to twice the one before; 100 if left out. */
  readonly baseMs?: number | undefined
  /** No pause is longer; 5000 if left out. */
  readonly maxMs?: number | undefined
  /** Called before each pause, for the metric. */
  readonly onRetry?: ((code: ErrorCode) => void) | undefined
  /** From 0 up to, not including, 1; `Math.random` if left out. */
  readonly random?: (() => number) | undefined
}

/**
 * The request layer's retries around `store`: exponential backoff with full jitter, on `ERR_STORE_UNAVAILABLE` and
 * `ERR_STORE_BUSY` only. What
 * waits on its own budget (`ERR_OBJECT_NOT_FOUND`, `ERR_OBJECT_CHANGED`) is the job layer's, and so is everything that is
 * still broken after the last attempt. A read goes on after the last byte that it gave. `openUploads` is passed through:
 * its caller comes back regularly, and a repeated listing would name uploads twice.
 */
export function withRetries(store: ArchiveStore, options: RetryOptions = {}): ArchiveStore {
  const { attempts = 5, baseMs = 100, maxMs = 5_000, onRetry, random = Math.random } = options

  /** Waits before the next try after `failures` in a row, or throws `error` if there is none. */
  async function pause(error: unknown, failures: number, limit: number, signal?: AbortSignal): Promise<void> {
    if (!isUnsealError(error, "ERR_STORE_UNAVAILABLE", "ERR_STORE_BUSY") || failures >= limit) throw error
    signal?.throwIfAborted()
    onRetry?.(error.code)
    try {
      await sleep(
        random() * Math.min(maxMs, baseMs * 2 ** (failures - 1)),
        undefined,
        signal ? { signal } : {},
      )
    } catch (interrupted) {
      throw signal?.aborted ? signal.reason : interrupted
    }
  }

  async function retry<Result>(
    request: () => Promise<Result>,
    signal?: AbortSignal,
    limit = attempts,
  ): Promise<Result> {
    for (let failures = 1; ; failures++) {
      try {
        return await request()
      } catch (error) {
        await pause(error, failures, limit, signal)
      }
    }
  }

  /** `begun` is the first try, if there is one already. */
  async function* read(
    object: StoredObject,
    range: ByteRange,
    signal: AbortSignal,
    begun?: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array> {
    let start = range.start
    let pieces = begun
    for (let failures = 1; ; failures++) {
      try {
        pieces ??= store.read(object, { start, end: range.end }, signal)
        for await (const piece of pieces) {
          start += piece.length
          failures = 0
          yield piece
        }
        return
      } catch (error) {
        // Nothing is left to ask for again: a store that gave every byte and then failed is to be believed.
        if (start >= range.end) throw error
        failures = Math.max(1, failures)
        await pause(error, failures, attempts, signal)
        pieces = undefined
      }
    }
  }

  const wrapWriter = (writer: PartWriter): PartWriter => ({
    token: writer.token,
    resumable: writer.resumable,
    partSize: writer.partSize,
    written: (signal) => retry(() => writer.written(signal), signal),
    writePart: (number, body, crc32, signal) =>
      retry(() => writer.writePart(number, body, crc32, signal), signal),
    complete: (parts, signal) => retry(() => writer.complete(parts, signal), signal),
    // Twice at most: an abort happens while something else already went wrong, and the janitor finds what is left.
    abort: () => retry(() => writer.abort(), undefined, Math.min(2, attempts)),
  })

  return {
    location: store.location,
    stat: (key, signal) => retry(() => store.stat(key, signal), signal),
    async open(key, length, signal) {
      const opened = await retry(() => store.open(key, length, signal), signal)
      if (opened === null) return null
      const { object, head } = opened
      const range = { start: 0, end: Math.min(length, object.size) }
      return { ...opened, head: read(object, range, signal, head) }
    },
    read: (object, range, signal) => read(object, range, signal),
    partSizeFor: (size) => store.partSizeFor(size),
    create: async (key, size, createOptions, signal) =>
      wrapWriter(await retry(() => store.create(key, size, createOptions, signal), signal)),
    openUploads: (signal) => store.openUploads(signal),
    abortUpload: (upload, signal) => retry(() => store.abortUpload(upload, signal), signal),
    remove: (key, signal) => retry(() => store.remove(key, signal), signal),
  }
}
