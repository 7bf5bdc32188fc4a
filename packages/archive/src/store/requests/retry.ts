import { type ErrorCode, isUnsealError, type UnsealError } from "../../errors.ts"
import type { ByteRange } from "../../format/parts.ts"
import { type BackoffOptions, backoffMs, rest } from "../../waiting.ts"
import type { ArchiveStore, PartWriter, StoredObject } from "../contract.ts"
import { createPace } from "../http/pace.ts"

/** How requests are repeated. The longest pause is 5000 ms by default. */
export interface RetryOptions extends BackoffOptions {
  /** How often in a row a request may fail before the failure is passed on. Default 5. */
  readonly attempts?: number | undefined
  /**
   * A read that gave this many bytes before it failed starts counting again, if it was faster than the floor of pace.ts. Otherwise
   * a peer that gives a little each time would be asked for ever. Default 16384.
   */
  readonly progressBytes?: number | undefined
  /** Called before each pause, for the metric. */
  readonly onRetry?: ((code: ErrorCode) => void) | undefined
  /** Milliseconds, for the pace of a read. Default `performance.now`. */
  readonly now?: (() => number) | undefined
}

/** The codes after which a request is repeated, here or under a limit on requests ([limited.ts](./limited.ts)). */
export const RETRIED_REQUEST_CODES = [
  "ERR_STORE_UNAVAILABLE",
  "ERR_STORE_DENIED",
  "ERR_STORE_BUSY",
] as const satisfies ErrorCode[]

/** A request's failures in a row so far. */
interface Tries {
  failures: number
  refusals: number
  silences: number
}

/** How often a refusal of access is retried before it counts. */
const REFUSALS_ASKED_AGAIN = 3
/** A first silence may be a dead connection's. After the second, a further try would only hold its slot for longer. */
const MOST_SILENCES = 2

/**
 * Adds the request layer's retries to `store`: exponential backoff with full jitter, on `ERR_STORE_UNAVAILABLE`. A 401 or 403
 * (`ERR_STORE_DENIED` with `refused`) is retried after a longer pause, because permissions propagate slowly, and some stores
 * refuse one request in a hundred for no reason. Once access has stayed refused, such retries stop until a request succeeds.
 * A peer that was too slow (`slow`) is not asked again here, and one that was silent (`silent`) only once. Errors with a budget of their own
 * (`ERR_OBJECT_NOT_FOUND`, `ERR_OBJECT_CHANGED`) and failures of the last attempt are left to the job layer. A read goes on
 * after the last byte that it gave. `openUploads` is passed through: its caller runs regularly, and a repeated listing would
 * name uploads twice.
 */
export function withRetries(store: ArchiveStore, options: RetryOptions = {}): ArchiveStore {
  const {
    attempts = 5,
    baseMs = 100,
    maxMs = 5_000,
    progressBytes = 16 * 1024,
    onRetry,
    random = Math.random,
    now,
  } = options
  let isDenied = false

  /** Milliseconds to wait before the next try; `null` if there is none. */
  function pauseAfter(error: UnsealError, tries: Tries, limit: number): number | null {
    if (error.slow || (error.silent && ++tries.silences >= MOST_SILENCES)) return null
    if (error.code === "ERR_STORE_UNAVAILABLE")
      return ++tries.failures < limit ? backoffMs(tries.failures, { baseMs, maxMs, random }) : null
    if (error.code !== "ERR_STORE_DENIED" || !error.refused) return null
    if (isDenied || ++tries.refusals > REFUSALS_ASKED_AGAIN) {
      isDenied = true
      return null
    }
    return backoffMs(tries.refusals, { baseMs: 5 * baseMs, maxMs, random: () => 0.5 + random() / 2 })
  }

  /** Waits before the next try. Throws `error` if there is none. */
  async function pause(error: unknown, tries: Tries, limit: number, signal?: AbortSignal): Promise<void> {
    const pauseMs = isUnsealError(error) ? pauseAfter(error, tries, limit) : null
    if (pauseMs === null) throw error
    signal?.throwIfAborted()
    onRetry?.((error as UnsealError).code)
    await rest(pauseMs, signal)
  }

  async function retry<Result>(
    request: () => Promise<Result>,
    signal?: AbortSignal,
    limit = attempts,
  ): Promise<Result> {
    const tries = { failures: 0, refusals: 0, silences: 0 }
    for (;;) {
      try {
        const result = await request()
        isDenied = false
        return result
      } catch (error) {
        await pause(error, tries, limit, signal)
      }
    }
  }

  /** `begun` is the first try, if it has already begun. */
  async function* read(
    object: StoredObject,
    range: ByteRange,
    signal: AbortSignal,
    begun?: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array> {
    let start = range.start
    let pieces = begun
    const tries = { failures: 0, refusals: 0, silences: 0 }
    for (;;) {
      const from = start
      // Counts only the peer's time, including its silence at the end.
      const pace = createPace(0, undefined, now)
      pace.run()
      try {
        pieces ??= store.read(object, { start, end: range.end }, signal)
        for await (const piece of pieces) {
          start += piece.length
          tries.refusals = 0
          isDenied = false
          pace.hold()
          yield piece
          pace.run()
        }
        return
      } catch (error) {
        // Nothing is left to request: the store gave every byte, and then failed.
        if (start >= range.end) throw error
        if (start - from >= progressBytes && pace.moved(start - from)) {
          tries.failures = 0
          tries.silences = 0
        }
        await pause(error, tries, attempts, signal)
        pieces = undefined
      }
    }
  }

  const wrapWriter = (writer: PartWriter): PartWriter => ({
    token: writer.token,
    resumable: writer.resumable,
    keepsBodies: writer.keepsBodies,
    partSize: writer.partSize,
    written: (signal) => retry(() => writer.written(signal), signal),
    writePart: (number, body, crc32, signal) =>
      retry(() => writer.writePart(number, body, crc32, signal), signal),
    complete: (parts, signal) => retry(() => writer.complete(parts, signal), signal),
    // At most twice: an abort happens when something else has already gone wrong, and the janitor finds what is left.
    abort: () => retry(() => writer.abort(), undefined, Math.min(2, attempts)),
  })

  return {
    location: store.location,
    ...(store.missingPermission && { missingPermission: () => store.missingPermission!() }),
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
    openUploads: (signal, key) => store.openUploads(signal, key),
    abortUpload: (upload, signal) => retry(() => store.abortUpload(upload, signal), signal),
    remove: (key, signal) => retry(() => store.remove(key, signal), signal),
    ...(store.restore && {
      restore: (object, options, signal) => retry(() => store.restore!(object, options, signal), signal),
    }),
  }
}
