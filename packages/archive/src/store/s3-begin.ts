/** How a multipart upload is begun. */
import { CreateMultipartUploadCommand } from "@aws-sdk/client-s3"
import { UnsealError } from "../errors.ts"
import type { CreateOptions } from "./contract.ts"
import { refusesChecksum } from "./s3-bodies.ts"
import { objectIn, type S3Bucket, whereIn } from "./s3-client.ts"
import { s3Error } from "./s3-errors.ts"

/** Begins an upload of `key` and gives its id. */
export async function beginUpload(
  bucket: S3Bucket,
  key: string,
  options: CreateOptions,
  signal: AbortSignal,
): Promise<string> {
  const where = whereIn(bucket, key)
  try {
    const answer = await createUpload(bucket, key, options, signal)
    if (!answer.UploadId)
      throw new UnsealError(
        "ERR_STORE_UNAVAILABLE",
        `CreateMultipartUpload of ${where} answered without an upload id`,
      )
    return answer.UploadId
  } catch (error) {
    throw s3Error(error, "CreateMultipartUpload", where, signal)
  }
}

/** With the parts' checksum algorithm, which AWS wants to be told beforehand, unless the store does not take it. */
async function createUpload(bucket: S3Bucket, key: string, options: CreateOptions, signal: AbortSignal) {
  const { abilities } = bucket
  const send = (checksum: boolean) => {
    const command = new CreateMultipartUploadCommand({
      ...objectIn(bucket, key),
      ContentType: options.contentType,
      Metadata: { ...options.metadata },
      ...(checksum && { ChecksumAlgorithm: "CRC32" }),
    })
    return bucket.call((client) => client.send(command, { abortSignal: signal }), signal)
  }
  if (abilities.protection !== "crc32") return send(false)
  try {
    return await send(true)
  } catch (error) {
    if (signal.aborted || !refusesChecksum(error, !abilities.checksumTaken)) throw error
    const answer = await send(false)
    abilities.protection = "none"
    return answer
  }
}
