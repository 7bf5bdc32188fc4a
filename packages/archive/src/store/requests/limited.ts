/** A store whose requests keep to a `RequestLimit`. */
import { type ErrorCode, isUnsealError } from "../../errors.ts"
import type { ByteRange } from "../../format/parts.ts"
import { rest } from "../../waiting.ts"
import type { ArchiveStore, OpenedObject, PartWriter, StoredObject } from "../contract.ts"
import { openInTwo } from "../open-in-two.ts"
import type { RequestLimit } from "./limit.ts"

export interface LimitedOptions {
  /** Called before a request that was refused for its rate is repeated, for the metric. */
  readonly onRetry?: ((code: ErrorCode) => void) | undefined
  /** How long a head that nobody reads is held. Default 10 s. */
  readonly holdMs?: number | undefined
}

/** After this many refusals over this time a request fails, even if the store accepts others. */
const MOST_REFUSALS = 20
const REQUEST_PATIENCE_MS = 300_000

/** An answer whose first piece, or end, has arrived. */
interface Begun {
  readonly pieces: AsyncIterator<Uint8Array>
  readonly first: IteratorResult<Uint8Array>
}

/**
 * Limits the requests to `store` that are in flight to what `limit` allows. A request refused for rate (`ERR_STORE_BUSY`) is
 * repeated when its turn comes. That is not a failure for the request layer's retries, unless the store accepts nothing for a
 * minute. An answer's body is in flight until its end. A head that nobody has begun to read would hold a place that its own
 * archive may need, so it is released when the store refuses something, or after `holdMs`, and requested again when it is
 * read. `openUploads` is passed through, because its caller makes other requests while it holds the listing.
 */
export function withRequestLimit(
  store: ArchiveStore,
  limit: RequestLimit,
  { onRetry, holdMs = 10_000 }: LimitedOptions = {},
): ArchiveStore {
  /** Makes a request. After its answer it stays in flight until the caller calls `limit.leave()`. */
  async function begin<Result>(request: () => Promise<Result>, signal?: AbortSignal): Promise<Result> {
    let firstRefusalAt = 0
    for (let refusals = 1; ; refusals++) {
      const entering = limit.enter(signal)
      const ticket = typeof entering === "number" ? entering : await entering
      try {
        const result = await request()
        limit.accept()
        return result
      } catch (error) {
        if (!isUnsealError(error, "ERR_STORE_BUSY")) {
          // With any other answer, the store was not too busy.
          if (isUnsealError(error) && error.code !== "ERR_STORE_UNAVAILABLE") limit.accept()
          limit.leave()
          throw error
        }
        firstRefusalAt ||= performance.now()
        const isStarved =
          refusals >= MOST_REFUSALS && performance.now() - firstRefusalAt >= REQUEST_PATIENCE_MS
        if (!limit.refuse(ticket, error) || isStarved) throw error
        onRetry?.(error.code)
        await rest(limit.restMs(refusals), signal)
      }
    }
  }

  async function once<Result>(request: () => Promise<Result>, signal?: AbortSignal): Promise<Result> {
    const result = await begin(request, signal)
    limit.leave()
    return result
  }

  const beginRead = (object: StoredObject, range: ByteRange, signal: AbortSignal): Promise<Begun> =>
    begin(() => begun(store.read(object, range, signal)), signal)

  /** The pieces of the answer that `ask` gets. Not a generator, which would cost more per piece. */
  function inFlight(ask: () => Promise<Begun>): AsyncIterableIterator<Uint8Array> {
    let pieces: AsyncIterator<Uint8Array> | undefined
    const leave = () => {
      if (pieces !== undefined) limit.leave()
      pieces = OVER
    }
    let next = async (): Promise<IteratorResult<Uint8Array>> => {
      const answer = await ask()
      pieces = answer.pieces
      next = () => answer.pieces.next()
      return answer.first
    }
    const self: AsyncIterableIterator<Uint8Array> = {
      [Symbol.asyncIterator]: () => self,
      async next() {
        try {
          const step = await next()
          if (step.done && pieces !== OVER) leave()
          return step
        } catch (error) {
          if (pieces !== OVER) leave()
          throw error
        }
      },
      async return() {
        const left = pieces
        if (left !== OVER) leave()
        await left?.return?.()
        return END
      },
    }
    return self
  }

  /** Holds the result of `store.open`, which is in flight. */
  function hold(opened: OpenedObject, length: number, signal: AbortSignal): OpenedObject {
    const { object } = opened
    let isHeld = true
    const take = () => {
      const wasHeld = isHeld
      isHeld = false
      clearTimeout(timer)
      forget()
      return wasHeld
    }
    const letGo = () => {
      if (!take()) return
      opened.close()
      limit.leave()
    }
    const timer = setTimeout(letGo, holdMs).unref()
    const forget = limit.onRefusal(letGo)
    // A store that refused before has a limit, so nothing is held.
    if (Number.isFinite(limit.limit)) letGo()

    const head = inFlight(async () => {
      const range = { start: 0, end: Math.min(length, object.size) }
      if (!take()) return beginRead(object, range, signal)
      try {
        return await begun(opened.head)
      } catch (error) {
        limit.leave()
        // An adapter that needs two requests makes the second one here.
        if (isUnsealError(error, "ERR_STORE_BUSY")) return beginRead(object, range, signal)
        throw error
      }
    })
    return { object, head, close: letGo }
  }

  const wrapWriter = (writer: PartWriter): PartWriter => ({
    token: writer.token,
    resumable: writer.resumable,
    keepsBodies: writer.keepsBodies,
    partSize: writer.partSize,
    written: (signal) => once(() => writer.written(signal), signal),
    writePart: (number, body, crc32, signal) =>
      once(() => writer.writePart(number, body, crc32, signal), signal),
    complete: (parts, signal) => once(() => writer.complete(parts, signal), signal),
    abort: () => once(() => writer.abort()),
  })

  const limited: ArchiveStore = {
    location: store.location,
    ...(store.missingPermission && { missingPermission: () => store.missingPermission!() }),
    stat: (key, signal) => once(() => store.stat(key, signal), signal),
    async open(key, length, signal) {
      // Nothing is held from a store that limits requests in flight.
      const answer = await begin<OpenedObject | StoredObject | null>(
        () => (Number.isFinite(limit.limit) ? store.stat(key, signal) : store.open(key, length, signal)),
        signal,
      )
      if (answer !== null && "head" in answer && answer.object.size > 0) return hold(answer, length, signal)
      limit.leave()
      if (answer === null || "head" in answer) return answer
      return openInTwo({ stat: async () => answer, read: limited.read }, key, length, signal)
    },
    read: (object, range, signal) => inFlight(() => beginRead(object, range, signal)),
    partSizeFor: (size) => store.partSizeFor(size),
    create: async (key, size, options, signal) =>
      wrapWriter(await once(() => store.create(key, size, options, signal), signal)),
    openUploads: (signal, key) => store.openUploads(signal, key),
    abortUpload: (upload, signal) => once(() => store.abortUpload(upload, signal), signal),
    remove: (key, signal) => once(() => store.remove(key, signal), signal),
    ...(store.restore && {
      restore: (object, options, signal) => once(() => store.restore!(object, options, signal), signal),
    }),
  }
  return limited
}

const END = { done: true, value: undefined } as const
/** Replaces pieces that have ended. */
const OVER: AsyncIterator<Uint8Array> = { next: async () => END }

async function begun(answer: AsyncIterable<Uint8Array>): Promise<Begun> {
  const pieces = answer[Symbol.asyncIterator]()
  return { pieces, first: await pieces.next() }
}
