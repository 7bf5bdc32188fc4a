import { checkCrc32, checkLength, checkParts, keyUnder, partBytes } from "./adapter.ts"
import type { CreateOptions, PartWriter, WrittenPart } from "./contract.ts"
import { type S3Bucket, whereIn } from "./s3-client.ts"
import { commitObject, metadataHeaders } from "./s3-commit.ts"
import { exhaust } from "./s3-signed.ts"

/** The token of an object that has no multipart upload: resuming it starts over. */
export const SINGLE_TOKEN = "single"

export const CRC32_HEADER = "x-amz-checksum-crc32"

/** As `x-amz-checksum-crc32` has it: base64 of the four bytes, the highest first. */
export function base64Crc32(crc32: number): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(crc32 >>> 0)
  return bytes.toString("base64")
}

/** An object of one part or none: one PutObject, which is atomic, instead of three requests and an upload to clean up. */
export function putWriter(
  bucket: S3Bucket,
  key: string,
  size: number,
  partSize: number,
  options: CreateOptions,
): PartWriter {
  const where = whereIn(bucket, key)
  let held: { bytes: readonly Uint8Array[]; crc32: number; part: WrittenPart } | undefined

  return {
    token: SINGLE_TOKEN,
    resumable: false,
    partSize,
    async written(signal) {
      signal.throwIfAborted()
      return new Map(held ? [[1, held.part]] : [])
    },
    async writePart(number, body, crc32, signal) {
      signal.throwIfAborted()
      const label = `part ${number} of ${where}`
      checkLength(body, partBytes(number, size, partSize), label)
      checkCrc32(body, crc32, label)
      const part = { size, tag: base64Crc32(crc32) }
      held = { bytes: body, crc32, part }
      return part
    },
    async complete(parts, signal) {
      checkParts(parts, size, partSize)
      const body = held
      if (size > 0 && (!body || parts.get(1)?.tag !== body.part.tag))
        throw new RangeError(`part 1 of ${where} was not written by this writer`)
      const { object } = await commitObject(
        bucket,
        {
          key,
          size,
          options,
          operation: "PutObject",
          send: async (condition) => {
            const answer = await bucket.objects.send(
              {
                method: "PUT",
                key: keyUnder(bucket.prefix, key),
                headers: {
                  "content-type": options.contentType,
                  [CRC32_HEADER]: base64Crc32(body?.crc32 ?? 0),
                  ...(condition.IfNoneMatch ? { "if-none-match": condition.IfNoneMatch } : {}),
                  ...metadataHeaders(options.metadata),
                },
                body: body?.bytes ?? [],
              },
              signal,
            )
            await exhaust(answer.body)
            return answer.headers.etag
          },
        },
        signal,
      )
      return object
    },
    async abort() {
      held = undefined
    },
  }
}
