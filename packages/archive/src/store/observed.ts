/** A store that reports its requests, for the metrics. */
import { outcomeOf, type RequestOutcome, timed } from "../request-outcome.ts"
import type { ArchiveStore, PartWriter } from "./contract.ts"

/** `look`: a stat, a listing, or the answer to an opening. `commit`: what makes an object visible. */
export const STORE_OPERATIONS = ["look", "read", "write", "commit"] as const
export type StoreOperation = (typeof STORE_OPERATIONS)[number]

/** One request that has ended. */
export interface StoreRequest {
  readonly operation: StoreOperation
  readonly outcome: RequestOutcome
  /** Until the response; for a read, until its first byte. */
  readonly seconds: number
}

/**
 * Reports each request to `store` to `onRequest`. `store` must be an adapter: one call is one attempt. A writer that keeps its
 * parts for the commit sends nothing before. Without `onRequest`, returns `store` itself.
 */
export function withObservedRequests(
  store: ArchiveStore,
  onRequest: ((request: StoreRequest) => void) | undefined,
): ArchiveStore {
  if (onRequest === undefined) return store
  const tell = (operation: StoreOperation) => (outcome: RequestOutcome, seconds: number) =>
    onRequest({ operation, outcome, seconds })
  const look = <T>(work: () => Promise<T>, signal: AbortSignal) =>
    timed(work, tell("look"), { signal, outcome: (found) => (found === null ? "missing" : "ok") })
  const write = <T>(work: () => Promise<T>, signal?: AbortSignal) =>
    timed(work, tell("write"), signal && { signal })

  const writerOf = (writer: PartWriter): PartWriter => ({
    token: writer.token,
    resumable: writer.resumable,
    keepsBodies: writer.keepsBodies,
    partSize: writer.partSize,
    written: (signal) => look(() => writer.written(signal), signal),
    writePart(number, body, crc32, signal) {
      const work = () => writer.writePart(number, body, crc32, signal)
      return writer.resumable ? write(work, signal) : work()
    },
    complete: (parts, signal) => timed(() => writer.complete(parts, signal), tell("commit"), { signal }),
    abort: () => (writer.resumable ? write(() => writer.abort()) : writer.abort()),
  })

  return {
    location: store.location,
    ...(store.missingPermission && { missingPermission: () => store.missingPermission!() }),
    stat: (key, signal) => look(() => store.stat(key, signal), signal),
    open: (key, length, signal) => look(() => store.open(key, length, signal), signal),
    read: (object, range, signal) => watched(store.read(object, range, signal), tell("read"), signal),
    partSizeFor: (size) => store.partSizeFor(size),
    async create(key, size, options, signal) {
      const startedAt = performance.now()
      try {
        const writer = await store.create(key, size, options, signal)
        if (writer.resumable) tell("write")("ok", (performance.now() - startedAt) / 1_000)
        return writerOf(writer)
      } catch (error) {
        tell("write")(outcomeOf(error, signal), (performance.now() - startedAt) / 1_000)
        throw error
      }
    },
    openUploads: (signal, key) => store.openUploads(signal, key),
    abortUpload: (upload, signal) => write(() => store.abortUpload(upload, signal), signal),
    remove: (key, signal) => write(() => store.remove(key, signal), signal),
    ...(store.restore && {
      restore: (object, options, signal) => write(() => store.restore!(object, options, signal), signal),
    }),
  }
}

/** The same pieces. Reports them once: at their end, when they fail, or when the consumer leaves. */
function watched(
  bytes: AsyncIterable<Uint8Array>,
  tell: (outcome: RequestOutcome, seconds: number) => void,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const pieces = bytes[Symbol.asyncIterator]()
      let startedAt = 0
      let firstAt = 0
      let isTold = false
      const end = (outcome: RequestOutcome) => {
        if (isTold || startedAt === 0) return
        isTold = true
        tell(outcome, ((firstAt || performance.now()) - startedAt) / 1_000)
      }
      return {
        next() {
          startedAt ||= performance.now()
          return pieces.next().then(
            (step) => {
              firstAt ||= performance.now()
              if (step.done) end("ok")
              return step
            },
            (error: unknown) => {
              end(outcomeOf(error, signal))
              throw error
            },
          )
        },
        async return() {
          end("cancelled")
          await pieces.return?.()
          return { done: true, value: undefined }
        },
      }
    },
  }
}
