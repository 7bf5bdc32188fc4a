/** Stores without a protection, which a test must notice. */
import { setTimeout as sleep } from "node:timers/promises"
import { isUnsealError } from "@unseal/archive/errors"
import type { ArchiveSource, ArchiveStore, PartWriter, WrittenPart } from "@unseal/archive/store/contract"
import { openInTwo } from "@unseal/archive/store/open-in-two"
import { isOff, type RigSettings } from "./settings.ts"

/** `source` without the disabled protections of reading. */
export function sourceWithout(settings: RigSettings, source: ArchiveSource): ArchiveSource {
  let read = source.read
  if (isOff(settings, "etag-pin")) {
    const pinned = read
    // Reads the current version, whichever it is, like a plain ranged GET.
    read = async function* (object, range, signal) {
      const current = await source.stat(object.key, signal)
      yield* pinned(current ?? object, range, signal)
    }
  }
  if (isOff(settings, "read-length")) {
    const checked = read
    // Accepts a short answer. Zeros replace what is missing, because later steps rely on the length.
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

/** `store` without the disabled protections of writing, for the archive at `key`. Records are written as always. */
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

/** Makes the first part visible at once, like a writer that streams into the object itself. */
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
