/** Bytes kept longer than a store lends them: small objects, read and written whole, and chunks for a stream. */
import { crc32 } from "node:zlib"
import { counted } from "../counted.ts"
import { UnsealError } from "../errors.ts"
import type { ArchiveSink, ArchiveSource, CreateOptions, StoredObject, WrittenPart } from "./contract.ts"

/** All bytes of `object`. Throws `ERR_CIPHERTEXT_INVALID` if they are more than `limit`. */
export async function readSmallObject(
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

/** Copies each of a store's `chunks`, for consumers that keep one beyond the next, as a Node stream does. */
export async function* copied(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) yield Uint8Array.from(chunk)
}

/** Writes `bytes` under `key`. By default without metadata, replacing an existing object. */
export async function writeSmallObject(
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
    // The caller must learn of this failure. If the upload can't be removed now, the janitor finds it.
    await writer.abort().catch(() => {})
    throw error
  }
}
