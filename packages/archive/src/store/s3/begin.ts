/** Begins and aborts multipart uploads. */
import { AbortMultipartUploadCommand, CreateMultipartUploadCommand } from "@aws-sdk/client-s3"
import { UnsealError } from "../../errors.ts"
import { untilAborted } from "../../waiting.ts"
import type { CreateOptions } from "../contract.ts"
import { refusesChecksum } from "./bodies.ts"
import { objectIn, type S3Bucket, whereIn } from "./connection/client.ts"
import { s3Error } from "./errors.ts"
import { statusOf } from "./facts.ts"
import { isDenied } from "./looks.ts"

/**
 * Begins an upload of `key` and returns its id. Aborting can't take the request back: the store may have begun the upload, and
 * nobody else would know. So the upload is ended as soon as its id arrives.
 */
export async function beginUpload(
  bucket: S3Bucket,
  key: string,
  options: CreateOptions,
  signal: AbortSignal,
): Promise<string> {
  const where = whereIn(bucket, key)
  try {
    signal.throwIfAborted()
    const begun = createUpload(bucket, key, options)
    const endLate = async () => {
      const { UploadId } = await begun
      if (UploadId) await abortMultipart(bucket, key, UploadId)
    }
    const response = await untilAborted(begun, signal).catch((error: unknown) => {
      if (signal.aborted) endLate().catch(() => {})
      throw error
    })
    if (!response.UploadId)
      throw new UnsealError(
        "ERR_STORE_UNAVAILABLE",
        `CreateMultipartUpload of ${where} answered without an upload id`,
      )
    return response.UploadId
  } catch (error) {
    throw s3Error(error, "CreateMultipartUpload", where, signal)
  }
}

/** Names the parts' checksum algorithm, which AWS requires up front, unless the store refuses it. */
async function createUpload(bucket: S3Bucket, key: string, options: CreateOptions) {
  const { capabilities } = bucket
  const send = (checksum: boolean) => {
    const command = new CreateMultipartUploadCommand({
      ...objectIn(bucket, key),
      ContentType: options.contentType,
      Metadata: { ...options.metadata },
      ...(checksum && { ChecksumAlgorithm: "CRC32" }),
    })
    return bucket.call((client) => client.send(command))
  }
  if (capabilities.protection !== "crc32") return send(false)
  try {
    return await send(true)
  } catch (error) {
    if (!refusesChecksum(error, !capabilities.checksumTaken)) throw error
    const response = await send(false)
    capabilities.protection = "none"
    return response
  }
}

/** Ends an upload. No error if it is gone. */
export async function abortMultipart(bucket: S3Bucket, key: string, uploadId: string, signal?: AbortSignal) {
  try {
    signal?.throwIfAborted()
    const command = new AbortMultipartUploadCommand({ ...objectIn(bucket, key), UploadId: uploadId })
    await bucket.call((client) => client.send(command, signal ? { abortSignal: signal } : {}), signal)
  } catch (error) {
    if (!signal?.aborted && statusOf(error) === 404) return
    if (isDenied(error)) bucket.notify({ what: "abort-denied", permission: "s3:AbortMultipartUpload" })
    throw s3Error(error, "AbortMultipartUpload", whereIn(bucket, key), signal)
  }
}
