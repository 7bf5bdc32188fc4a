import {
  type CompletedPart,
  CompleteMultipartUploadCommand,
  ListPartsCommand,
  type S3Client,
} from "@aws-sdk/client-s3"
import { UnsealError } from "../../errors.ts"
import type { CreateOptions, PartWriter, WrittenPart } from "../contract.ts"
import { keyUnder } from "../identity.ts"
import { createMarkers } from "../page-markers.ts"
import { byteLengthOf, checkCrc32, checkLength, checkParts, partBytes } from "../part-checks.ts"
import { type PartLimits, partSizeWithin } from "../part-size.ts"
import { abortMultipart, beginUpload } from "./begin.ts"
import { base64Crc32, CRC32_HEADER, sendBody } from "./bodies.ts"
import { commitObject } from "./commit.ts"
import { bareEtag, objectIn, type S3Bucket, whereIn } from "./connection/client.ts"
import { s3Error } from "./errors.ts"
import { exhaust } from "./object-requests.ts"
import { putWriter, SINGLE_TOKEN } from "./put.ts"

const LIMITS: PartLimits = { store: "S3", smallest: 5 * 2 ** 20, largest: 5 * 2 ** 30, most: 10_000 }

/** The part size of an object: `partSizeWithin` S3's limits. */
export const partSizeFor = (size: number, preferred: number): number =>
  partSizeWithin(LIMITS, size, preferred)

interface Upload {
  readonly key: string
  readonly size: number
  readonly options: CreateOptions
  readonly uploadId: string
  readonly partSize: number
}

/** An upload's token. Without a part size, which a listing does not know, it is a prefix of the writer's token. */
export const multipartToken = (uploadId: string, partSize?: number): string =>
  `multipart:${uploadId}${partSize === undefined ? "" : `:${partSize}`}`

function parseToken(token: string): { uploadId: string; partSize: number | undefined } | null {
  const match = /^multipart:(.+?)(?::(\d{1,15}))?$/.exec(token)
  return match
    ? { uploadId: match[1]!, partSize: match[2] === undefined ? undefined : Number(match[2]) }
    : null
}

/** Begins or resumes an object: `ArchiveSink.create` for a bucket. */
export async function createWriter(
  bucket: S3Bucket,
  key: string,
  size: number,
  options: CreateOptions,
  preferredPartSize: number,
  signal: AbortSignal,
): Promise<PartWriter> {
  signal.throwIfAborted()
  const partSize = partSizeFor(size, preferredPartSize)
  const { token } = options
  if (token !== undefined && token !== SINGLE_TOKEN) return resume(bucket, key, size, options, token, signal)
  if (size <= partSize) return putWriter(bucket, key, size, partSize, options)
  const uploadId = await beginUpload(bucket, key, options, signal)
  return multipartWriter(bucket, { key, size, options, uploadId, partSize })
}

async function resume(
  bucket: S3Bucket,
  key: string,
  size: number,
  options: CreateOptions,
  token: string,
  signal: AbortSignal,
): Promise<PartWriter> {
  const { uploadId, partSize } = parseToken(token) ?? {}
  const usable =
    uploadId !== undefined &&
    partSize !== undefined &&
    partSize >= LIMITS.smallest &&
    size > partSize &&
    Math.ceil(size / partSize) <= LIMITS.most
  if (!usable)
    throw new UnsealError(
      "ERR_UPLOAD_GONE",
      `the token names no upload of ${size} bytes to ${whereIn(bucket, key)}`,
    )
  const upload = { key, size, options, uploadId, partSize }
  // One page of one part, just to see whether the upload exists.
  await listParts(bucket, upload, signal, 1).next()
  return multipartWriter(bucket, upload)
}

async function* listParts(bucket: S3Bucket, upload: Upload, signal: AbortSignal, pageSize = 1000) {
  const where = whereIn(bucket, upload.key)
  const send = (command: ListPartsCommand) =>
    bucket.call((client) => client.send(command, { abortSignal: signal }), signal)
  const markers = createMarkers(`ListParts of ${where}`)
  let marker: string | undefined
  do {
    try {
      signal.throwIfAborted()
      const command = new ListPartsCommand({
        ...objectIn(bucket, upload.key),
        UploadId: upload.uploadId,
        MaxParts: pageSize,
        PartNumberMarker: marker,
      })
      const page: Awaited<ReturnType<typeof send>> = await send(command)
      yield page.Parts ?? []
      marker = markers.advance(page.IsTruncated, page.NextPartNumberMarker)
    } catch (error) {
      throw s3Error(error, "ListParts", where, signal)
    }
  } while (marker !== undefined)
}

const CHECKSUM_MARK = ";crc32="

/**
 * A part's tag: its ETag, and its checksum if the store returned one. AWS requires both in Complete, but stores without
 * checksums refuse the second. So the tag also says which kind of store this is.
 */
const tagOf = (etag: string | undefined, checksum: string | undefined): string =>
  checksum ? `${bareEtag(etag)}${CHECKSUM_MARK}${checksum}` : bareEtag(etag)

function completedPart(number: number, { tag }: WrittenPart, withChecksum: boolean): CompletedPart {
  const [etag, checksum] = tag.split(CHECKSUM_MARK)
  return {
    PartNumber: number,
    ETag: `"${etag}"`,
    ...(checksum && withChecksum ? { ChecksumCRC32: checksum } : {}),
  }
}

function multipartWriter(bucket: S3Bucket, upload: Upload): PartWriter {
  const { key, size, options, uploadId, partSize } = upload
  const { capabilities } = bucket
  const where = whereIn(bucket, key)

  async function abort(): Promise<void> {
    await abortMultipart(bucket, key, uploadId)
  }

  return {
    token: multipartToken(uploadId, partSize),
    resumable: true,
    keepsBodies: false,
    partSize,
    async written(signal) {
      const parts = new Map<number, WrittenPart>()
      for await (const page of listParts(bucket, upload, signal))
        for (const part of page)
          if (part.PartNumber !== undefined && part.Size !== undefined)
            parts.set(part.PartNumber, { size: part.Size, tag: tagOf(part.ETag, part.ChecksumCRC32) })
      return parts
    },
    async writePart(number, body, crc32, signal) {
      signal.throwIfAborted()
      const label = `part ${number} of ${where}`
      checkLength(body, partBytes(number, size, partSize), label)
      if (!capabilities.verifies("UploadPart")) checkCrc32(body, crc32, label)
      const checksum = base64Crc32(crc32)
      try {
        const { headers, body: rest } = await sendBody(
          bucket,
          {
            ...{ method: "PUT", body, crc32, label, onSent: options.moved },
            key: keyUnder(bucket.prefix, key),
            query: { partNumber: String(number), uploadId },
          },
          signal,
        )
        await exhaust(rest)
        const stored = headers[CRC32_HEADER]
        if (stored !== undefined && stored !== checksum)
          throw new UnsealError(
            "ERR_STORE_UNAVAILABLE",
            `${label} was stored with the CRC-32 ${stored} instead of ${checksum}`,
          )
        if (bareEtag(headers.etag) === "")
          throw new UnsealError("ERR_STORE_UNAVAILABLE", `UploadPart of ${label} answered without an ETag`)
        capabilities.noteChecksum("UploadPart", stored)
        return { size: byteLengthOf(body), tag: tagOf(headers.etag, stored) }
      } catch (error) {
        throw s3Error(error, `UploadPart ${number}`, where, signal)
      }
    },
    async complete(parts, signal) {
      checkParts(parts, size, partSize)
      const { object, sent, refused } = await commitObject(
        bucket,
        {
          key,
          size,
          options,
          operation: "CompleteMultipartUpload",
          heedsCondition: false,
          form: {
            condition: capabilities.complete.condition,
            checksums:
              capabilities.complete.checksums &&
              [...parts.values()].some(({ tag }) => tag.includes(CHECKSUM_MARK)),
          },
          send: async ({ condition, checksums }) => {
            const command = new CompleteMultipartUploadCommand({
              ...objectIn(bucket, key),
              ...(condition && { IfNoneMatch: "*" }),
              UploadId: uploadId,
              MultipartUpload: {
                Parts: [...parts]
                  .sort(([a], [b]) => a - b)
                  .map(([number, part]) => completedPart(number, part, checksums)),
              },
            })
            const send = (client: S3Client) => client.send(command, { abortSignal: signal })
            return (await bucket.call(send, signal)).ETag
          },
        },
        signal,
      )
      capabilities.complete = {
        condition: capabilities.complete.condition && !refused.condition,
        checksums: capabilities.complete.checksums && !refused.checksums,
      }
      // Another writer of the same object was first, so this upload is still open. The object is there in any case. If the upload
      // can't be removed now, the janitor finds it.
      if (!sent) await abort().catch(() => {})
      return object
    },
    abort,
  }
}

/** Ends an upload by its token, from a writer or a listing. No error if it is gone. */
export async function abortToken(bucket: S3Bucket, key: string, token: string, signal: AbortSignal) {
  const uploadId = parseToken(token)?.uploadId
  if (uploadId !== undefined) await abortMultipart(bucket, key, uploadId, signal)
}
