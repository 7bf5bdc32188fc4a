/** The stores as they would be without a protection: what a test must notice. */
import { setTimeout as sleep } from "node:timers/promises"
import { isUnsealError } from "@unseal/archive/errors"
import { openInTwo } from "@unseal/archive/store/adapter"
import type { ArchiveSource, ArchiveStore, PartWriter, WrittenPart } from "@unseal/archive/store/contract"
import { isOff, type RigSettings } from "./settings.ts"

/** `source` without the protections of reading that are off. */
export function sourceWithout(settings: RigSettings, source: ArchiveSource): ArchiveSource {
  let read = source.read
  if (isOff(settings, "etag-pin")) {
    const pinned = read
    // Whatever version is there now, as a plain ranged GET has it.
    read = async function* (object, range, signal) {
      const current = await source.stat(object.key, signal)
      yield* pinned(current ?? object, range, signal)
    }
  }
  if (isOff(settings, "read-length")) {
    const checked = read
    // A short answer is believed. Zeros stand for what is missing, since the steps behind count for themselves.
    read = async function* (object, range, signal) {
      let missing = range.end - range.start
      try {
        for await (const chunk of checked(object, range, signal)) {
          missing -= chunk.length
          yield chunk
        }
      } catch (error) {
        if (!isUnsealError(error, "ERR_STORE_UNAVAILABLE") || !error.message.includes(" instead of the "))
          throw error
        yield new Uint8Array(missing)
      }
    }
  }
  const { stat } = source
  const open: ArchiveSource["open"] =
    read === source.read ? source.open : (...asked) => openInTwo({ stat, read }, ...asked)
  return { stat, open, read }
}

/** `store` without the protections of writing that are off, for the archive at `key`; records are written as ever. */
export function destinationWithout(settings: RigSettings, store: ArchiveStore, key: string): ArchiveStore {
  return {
    ...store,
    async create(created, size, options, signal) {
      if (created !== key) return store.create(created, size, options, signal)
      const unconditional = isOff(settings, "conditional-complete")
      const writer = await store.create(
        key,
        size,
        unconditional ? { ...options, existing: "replace" } : options,
        signal,
      )
      return isOff(settings, "commit-after-check") ? publishEarly(store, key, writer) : writer
    },
  }
}

/** Makes the first part visible as soon as it is there, as a writer does that streams into the object itself. */
function publishEarly(store: ArchiveStore, key: string, writer: PartWriter): PartWriter {
  return {
    ...writer,
    async writePart(number, body, crc32, signal) {
      const written = await writer.writePart(number, body, crc32, signal)
      if (number === 1) await publish(store, key, body, crc32, signal)
      return written
    },
  }
}

async function publish(
  store: ArchiveStore,
  key: string,
  body: readonly Uint8Array[],
  crc32: number,
  signal: AbortSignal,
): Promise<void> {
  const size = body.reduce((sum, chunk) => sum + chunk.length, 0)
  const options = { contentType: "video/mp2t", metadata: {}, existing: "replace" } as const
  const early = await store.create(key, size, options, signal)
  const parts = new Map<number, WrittenPart>([[1, await early.writePart(1, body, crc32, signal)]])
  await early.complete(parts, signal)
  // Long enough for somebody to look.
  await sleep(100)
}
