/** What is kept longer than a store lends it: small objects, read and written in one go, and chunks for a stream. */
import { crc32 } from "node:zlib"
import { counted } from "../counted.ts"
import { UnsealError } from "../errors.ts"
import type { ArchiveSink, ArchiveSource, CreateOptions, StoredObject, WrittenPart } from "./contract.ts"

/** All bytes of `object`, which must not be larger than `limit` bytes: `ERR_CIPHERTEXT_INVALID` if it is. */
export async function readWhole(
  source: ArchiveSource,
  object: StoredObject,
  limit: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  if (object.size > limit)
    throw new UnsealError(
      "ERR_CIPHERTEXT_INVALID",
      `${object.key} is ${counted(object.size, "byte")}, more than ${limit}`,
    )
  if (object.size === 0) return new Uint8Array()
  const chunks = copied(source.read(object, { start: 0, end: object.size }, signal))
  return Buffer.concat(await Array.fromAsync(chunks))
}

/** A copy of each of a store's `chunks`, for whoever keeps one beyond the next: a Node stream does. */
export async function* copied(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) yield Uint8Array.from(chunk)
}

/** Writes `bytes` under `key`; unless told otherwise, without metadata and replacing what is there. */
export async function writeWhole(
  sink: ArchiveSink,
  key: string,
  bytes: Uint8Array,
  contentType: string,
  signal: AbortSignal,
  options: Partial<Pick<CreateOptions, "metadata" | "existing">> = {},
): Promise<StoredObject> {
  const writer = await sink.create(
    key,
    bytes.length,
    { contentType, metadata: {}, existing: "replace", ...options },
    signal,
  )
  try {
    const parts = new Map<number, WrittenPart>()
    for (let start = 0; start < bytes.length; start += writer.partSize) {
      const body = bytes.subarray(start, start + writer.partSize)
      const number = parts.size + 1
      parts.set(number, await writer.writePart(number, [body], crc32(body), signal))
    }
    return await writer.complete(parts, signal)
  } catch (error) {
    // The failure is what the caller must learn of; what can't be removed now, the janitor finds.
    await writer.abort().catch(() => {})
    throw error
  }
}
