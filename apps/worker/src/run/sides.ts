/**
 * Which side of an archive an error came from, and which side has worked. The queue needs both to suspend a project for trouble of
 * the deployment, and to notice the end of the trouble. A store does not know its side.
 */
import { isUnsealError, type Side, UnsealError } from "@unseal/archive/errors"
import type { OpenedKeyRing } from "@unseal/archive/keys/contract"
import type { OpenedStore, PartWriter } from "@unseal/archive/store/contract"
import { untilAborted, withDeadline } from "@unseal/archive/waiting"
import type { JobContext } from "@unseal/queue/run/consumer"
import { idling, type RunSilence, silenceOf, type Transfer } from "./silence.ts"

/**
 * A run's exchange with the queue about its sides. The run reports that a side has done what was asked of it at `since`, or that
 * it waits for a side. It asks whether a side is suspended.
 */
export type SideReports = Pick<JobContext, "worked" | "waits" | "isSuspended">

/** What an archive needs of its project, by side. */
interface Sides {
  readonly source: OpenedStore
  readonly destination: OpenedStore
  readonly keyRing: OpenedKeyRing
}

/** Makes the errors of `resources` name their side. */
export function withSides<T extends Sides>(resources: T, reports: SideReports): T {
  return {
    ...resources,
    source: sided(resources.source, "source", reports),
    destination: sided(resources.destination, "destination", reports),
    keyRing: sidedKeys(resources.keyRing, reports),
  }
}

/** `error` with its side. Foreign errors stay as they are. The innermost side is kept. */
export function ofSide(error: unknown, side: Side): unknown {
  if (isUnsealError(error)) error.side ??= side
  return error
}

async function on<T>(side: Side, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw ofSide(error, side)
  }
}

/** A dead mount answers nothing, and ignores every signal. */
const OPENING_MS = 20_000

/**
 * Awaits `work`, whose failure means that `side` can't be opened: `ERR_STORE_DENIED`, unless it has a code of its own. Ends within
 * 20 s.
 */
export async function opening<T>(side: Side, what: string, work: Promise<T>): Promise<T> {
  const code = side === "keys" ? "ERR_KEY_SERVICE_UNAVAILABLE" : "ERR_STORE_UNAVAILABLE"
  const late = () => new UnsealError(code, `${what} did not open within ${OPENING_MS / 1_000} s`)
  try {
    return await withDeadline(work, OPENING_MS, late)
  } catch (cause) {
    if (isUnsealError(cause)) throw ofSide(cause, side)
    // An SDK's message may contain anything. The worker's log has the cause.
    const reason = cause instanceof Error ? cause.name : typeof cause
    throw ofSide(new UnsealError("ERR_STORE_DENIED", `${what} can't be opened: ${reason}`, { cause }), side)
  }
}

/** Passes on the bytes of `side`, and reports that the side worked when all have arrived. Copies nothing, and uses no generator. */
function reporting(
  bytes: AsyncIterable<Uint8Array>,
  side: Side,
  worked: SideReports["worked"],
  silence: RunSilence,
  transfer: Transfer,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = bytes[Symbol.asyncIterator]()
      let since = 0
      const fail = (error: unknown): never => {
        throw ofSide(error, side)
      }
      return {
        async next() {
          since ||= Date.now()
          const step = await transfer.waiting(iterator.next()).catch(fail)
          silence.heard()
          if (step.done) worked(side, since)
          return step
        },
        return: async (value) => (await iterator.return?.(value)) ?? { done: true, value },
      }
    },
  }
}

/**
 * `store` as one side of an archive. Reading all bytes of a range, or writing a part or an object, proves that the side works. A
 * look at an object proves nothing.
 */
export function sided<Store extends OpenedStore>(store: Store, side: Side, reports: SideReports): Store {
  const { worked, waits } = reports
  const silence = silenceOf(store).of(() => waits(side))
  const looking = <T>(what: string, look: (signal: AbortSignal) => Promise<T>, signal: AbortSignal) =>
    on(side, silence.limited(`${what} in ${store.location}`, look, signal))
  const transferring = (what: string, key: string, signal: AbortSignal, mayTakeLong = false) => {
    const look = (limited: AbortSignal) => store.stat(key, limited)
    return silence.transfer(`${what} in ${store.location}`, look, signal, mayTakeLong)
  }
  const wrote = (since: number) => {
    silence.heard()
    worked(side, since)
  }
  const writerOf = (writer: PartWriter, key: string): PartWriter => ({
    ...writer,
    written: (signal) => looking("parts of an upload", (limited) => writer.written(limited), signal),
    async writePart(number, body, crc32, signal) {
      const since = Date.now()
      const transfer = transferring(`part ${number} of ${key}`, key, signal)
      const part = await on(side, transfer.waiting(writer.writePart(number, body, crc32, transfer.signal)))
      // A part kept for the commit has not been sent yet, so the store has not answered.
      if (writer.resumable) wrote(since)
      return part
    },
    async complete(parts, signal) {
      const since = Date.now()
      const transfer = transferring(`commit of ${key}`, key, signal, writer.resumable)
      const object = await on(side, transfer.waiting(writer.complete(parts, transfer.signal)))
      wrote(since)
      return object
    },
    abort: () =>
      // It takes no signal, and a file system would ignore it.
      looking(
        `abort of ${key}`,
        (limited) => untilAborted(writer.abort(), limited),
        new AbortController().signal,
      ),
  })
  return {
    ...store,
    stat: (key, signal) => looking(key, (limited) => store.stat(key, limited), signal),
    async open(key, length, signal) {
      const transfer = transferring(key, key, signal)
      const opened = await looking(key, (limited) => store.open(key, length, limited), transfer.signal)
      return opened && { ...opened, head: reporting(opened.head, side, worked, silence, transfer) }
    },
    read(object, range, signal) {
      const transfer = transferring(object.key, object.key, signal)
      return reporting(store.read(object, range, transfer.signal), side, worked, silence, transfer)
    },
    async create(key, size, options, signal) {
      const moved = (bytes: number) => {
        silence.heard()
        options.moved?.(bytes)
      }
      const create = (limited: AbortSignal) => store.create(key, size, { ...options, moved }, limited)
      return writerOf(await looking(key, create, signal), key)
    },
    abortUpload: (upload, signal) =>
      looking(`abort of ${upload.key}`, (limited) => store.abortUpload(upload, limited), signal),
    remove: (key, signal) => looking(`removal of ${key}`, (limited) => store.remove(key, limited), signal),
  }
}

/** `keyRing` as a project's keys. Without a usable key it can't say anything about an archive. */
export function sidedKeys(keyRing: OpenedKeyRing, reports: SideReports): OpenedKeyRing {
  const { worked, waits, isSuspended } = reports
  return {
    ...keyRing,
    async unwrap(encryptedPassword, signal) {
      const since = Date.now()
      const unwrap = async () => {
        // A cached key would be found, and prove nothing.
        if (isSuspended("keys")) await keyRing.refresh(signal)
        return keyRing.unwrap(encryptedPassword, signal)
      }
      const unwrapping = idling(unwrap(), () => waits("keys"))
      const unwrapped = await on("keys", unwrapping)
      if (unwrapped === null && keyRing.describe().length === 0) throw withoutKeys(keyRing.location)
      // Keys that were read before their directory disappeared prove nothing about it.
      worked("keys", Math.min(since, keyRing.lookedAt()))
      return unwrapped
    },
  }
}

/** The ring itself reports keys that can't be used. */
function withoutKeys(location: string): unknown {
  const message = `key ring ${location} holds no usable key`
  return ofSide(new UnsealError("ERR_KEY_SERVICE_UNAVAILABLE", message), "keys")
}
