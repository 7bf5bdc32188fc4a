/** The vendor's upload into the customer's bucket, in parts, so that an archive of any size needs no more memory than two of them. */
import { crc32 } from "node:zlib"
import type { ArchiveStore, PartWriter, StoredObject, WrittenPart } from "@unseal/archive/store/contract"

/** The vendor documents this layout for `archive.mp4` and `archive.zip`; the name of an encrypted archive is not documented. */
export const DEFAULT_KEY_TEMPLATE = "{projectId}/{archiveId}/archive.ts"

/** The vendor's name for a composed archive that is not encrypted. */
export const PLAIN_KEY_TEMPLATE = "{projectId}/{archiveId}/archive.mp4"

/** The object's key for an archive. `RangeError` if the template does not tell archives apart. */
export function archiveKey(template: string, ids: { projectId: string; archiveId: string }): string {
  if (!template.includes("{archiveId}")) throw new RangeError("a key template must contain {archiveId}")
  return template.replaceAll("{projectId}", ids.projectId).replaceAll("{archiveId}", ids.archiveId)
}

/**
 * Writes exactly `size` bytes of `chunks` to `key`. One part is on its way while the next is
 * filled. After an error nothing is visible and no upload is left open. Errors are the store's.
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
    // The vendor only writes: it may not look at what is there.
    { contentType: "video/mp2t", metadata: {}, existing: "replace" },
    signal,
  )
  const written = new Map<number, WrittenPart>()
  let onItsWay = Promise.resolve()
  try {
    for (const [index, body] of partsOf(chunks, writer.partSize)) {
      await onItsWay
      onItsWay = writePart(writer, index + 1, body, written, signal)
      // Awaited one part later; until then a rejection must not count as unhandled.
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

/** Cuts `chunks` into parts of `partSize` bytes and a last one with the rest. */
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
