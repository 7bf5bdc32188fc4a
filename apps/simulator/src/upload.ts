/** The vendor's upload into the customer's bucket. It goes in parts, so an archive of any size needs memory for only two parts. */
import { crc32 } from "node:zlib"
import type { ArchiveStore, PartWriter, StoredObject, WrittenPart } from "@unseal/archive/store/contract"

/** The vendor documents this layout for `archive.mp4` and `archive.zip`, but not the name of an encrypted archive. */
export const DEFAULT_KEY_TEMPLATE = "{projectId}/{archiveId}/archive.ts"

/** The vendor's name for a composed archive without encryption. */
export const PLAIN_KEY_TEMPLATE = "{projectId}/{archiveId}/archive.mp4"

/** The object key of an archive. Throws `RangeError` if the template gives several archives the same key. */
export function archiveKey(template: string, ids: { projectId: string; archiveId: string }): string {
  if (!template.includes("{archiveId}")) throw new RangeError("a key template must contain {archiveId}")
  return template.replaceAll("{projectId}", ids.projectId).replaceAll("{archiveId}", ids.archiveId)
}

/**
 * Writes exactly `size` bytes of `chunks` to `key`, one part while the next is filled. After an error nothing is visible and
 * no upload is left open. Throws the store's errors.
 */
export async function uploadArchive(
  store: ArchiveStore,
  key: string,
  size: number,
  chunks: Iterable<Uint8Array>,
  signal: AbortSignal,
): Promise<StoredObject> {
  const writer = await store.create(
    key,
    size,
    // The vendor has write access only, so it can't look at what is there.
    { contentType: "video/mp2t", metadata: {}, existing: "replace" },
    signal,
  )
  const written = new Map<number, WrittenPart>()
  let onItsWay = Promise.resolve()
  try {
    for (const [index, body] of partsOf(chunks, writer.partSize)) {
      await onItsWay
      onItsWay = writePart(writer, index + 1, body, written, signal)
      // Awaited one part later. Until then a rejection must not count as unhandled.
      onItsWay.catch(() => {})
    }
    await onItsWay
    return await writer.complete(written, signal)
  } catch (error) {
    await onItsWay.catch(() => {})
    await writer.abort()
    throw error
  }
}

async function writePart(
  writer: PartWriter,
  number: number,
  body: readonly Uint8Array[],
  written: Map<number, WrittenPart>,
  signal: AbortSignal,
): Promise<void> {
  const checksum = body.reduce((sum, chunk) => crc32(chunk, sum), 0)
  written.set(number, await writer.writePart(number, body, checksum, signal))
}

/** Cuts `chunks` into parts of `partSize` bytes, the last with the rest. */
function* partsOf(chunks: Iterable<Uint8Array>, partSize: number): Generator<[number, Uint8Array[]]> {
  let body: Uint8Array[] = []
  let room = partSize
  let index = 0
  for (let chunk of chunks) {
    while (chunk.length >= room) {
      body.push(chunk.subarray(0, room))
      chunk = chunk.subarray(room)
      yield [index++, body]
      body = []
      room = partSize
    }
    if (chunk.length > 0) body.push(chunk)
    room -= chunk.length
  }
  if (body.length > 0) yield [index, body]
}
