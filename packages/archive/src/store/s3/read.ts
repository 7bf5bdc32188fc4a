/** Finds and reads the objects of a bucket. */
import { HeadBucketCommand, ListObjectsV2Command } from "@aws-sdk/client-s3"
import { counted } from "../../counted.ts"
import { UnsealError } from "../../errors.ts"
import { type ByteRange, rangeSize } from "../../format/parts.ts"
import type { OpenedObject, StoredObject } from "../contract.ts"
import type { IncomingResponse } from "../http/connection.ts"
import { keyUnder } from "../identity.ts"
import { openInTwo } from "../open-in-two.ts"
import { archivalIn } from "./archival.ts"
import { bareEtag, type S3Bucket, strongEtag, whereIn } from "./connection/client.ts"
import { s3Error } from "./errors.ts"
import { nameOf, statusOf } from "./facts.ts"
import { isDenied, judgeDenial } from "./looks.ts"

/** The current version of `key`, or `null`. A 404 to HEAD has no body, so a request to the bucket tells what is missing. */
export async function statObject(
  bucket: S3Bucket,
  key: string,
  signal: AbortSignal,
): Promise<StoredObject | null> {
  const where = whereIn(bucket, key)
  try {
    signal.throwIfAborted()
    const request = { method: "HEAD", key: keyUnder(bucket.prefix, key) } as const
    const { headers } = await bucket.objects.send(request, signal)
    const size = headers["content-length"]
    if (size === undefined)
      throw new UnsealError("ERR_STORE_UNAVAILABLE", `HeadObject of ${where} answered without a size`)
    const etag = strongEtag(headers.etag, "HeadObject", where)
    const archival = archivalIn(headers)
    return { key, size: Number(size), etag, metadata: metadataIn(headers), ...(archival && { archival }) }
  } catch (error) {
    if (!signal.aborted && isDenied(error)) {
      await judgeDenial(bucket, key, error, "HeadObject", signal)
      return null
    }
    if (signal.aborted || statusOf(error) !== 404) throw s3Error(error, "HeadObject", where, signal)
  }
  await checkBucket(bucket, where, signal)
  bucket.seeMissing()
  return null
}

export const METADATA_PREFIX = "x-amz-meta-"

function metadataIn(headers: Readonly<Record<string, string>>): Record<string, string> {
  const fields = Object.entries(headers).filter(([name]) => name.startsWith(METADATA_PREFIX))
  return Object.fromEntries(fields.map(([name, value]) => [name.slice(METADATA_PREFIX.length), value]))
}

async function checkBucket(bucket: S3Bucket, where: string, signal: AbortSignal): Promise<void> {
  if (bucket.capabilities.bucketSeen) return
  try {
    const command = new HeadBucketCommand({ Bucket: bucket.name })
    await bucket.call((client) => client.send(command, { abortSignal: signal }), signal)
    bucket.capabilities.seeBucket()
  } catch (error) {
    if (!signal.aborted && statusOf(error) === 404)
      throw new UnsealError("ERR_STORE_DENIED", `bucket s3://${bucket.name} does not exist`, { cause: error })
    // A user who may read objects, but not ask for the bucket, got the 404 from an existing bucket.
    if (!signal.aborted && statusOf(error) === 403) return bucket.capabilities.seeBucket()
    // Without a document there is no name, and a 400 has several reasons. A listing needs the same permission, and has one.
    if (!signal.aborted && [400, 503].includes(statusOf(error) ?? 0)) return listBucket(bucket, where, signal)
    throw s3Error(error, "HeadBucket", where, signal)
  }
}

async function listBucket(bucket: S3Bucket, where: string, signal: AbortSignal): Promise<void> {
  try {
    const command = new ListObjectsV2Command({ Bucket: bucket.name, MaxKeys: 1 })
    await bucket.call((client) => client.send(command, { abortSignal: signal }), signal)
    bucket.capabilities.seeBucket()
  } catch (error) {
    throw s3Error(error, "ListObjectsV2", where, signal)
  }
}

/** `ArchiveSource.open`: one GetObject, whose answer says what HeadObject's would. */
export async function openObject(
  bucket: S3Bucket,
  key: string,
  length: number,
  signal: AbortSignal,
): Promise<OpenedObject | null> {
  const where = whereIn(bucket, key)
  let response: IncomingResponse | undefined
  try {
    signal.throwIfAborted()
    const headers = { range: `bytes=0-${length - 1}` }
    response = await bucket.objects.send(
      { method: "GET", key: keyUnder(bucket.prefix, key), headers },
      signal,
    )
  } catch (error) {
    const status = signal.aborted ? undefined : statusOf(error)
    if (status === 404 && nameOf(error) !== "NoSuchBucket") {
      await checkBucket(bucket, where, signal)
      bucket.seeMissing()
      return null
    }
    if (status === 403 && isDenied(error)) {
      await judgeDenial(bucket, key, error, "GetObject", signal)
      return null
    }
    // An empty object has no first byte.
    if (status !== 416) throw s3Error(error, "GetObject", where, signal)
  }
  const body = response?.body
  const object = response && objectOf(response, key, length)
  if (body && object) {
    const range = { start: 0, end: Math.min(length, object.size) }
    return {
      object,
      head: checked(body, range, where, signal),
      close: () => void body.return?.(),
    }
  }
  await body?.return?.()
  const stat = () => statObject(bucket, key, signal)
  return openInTwo({ stat, read: (...rest) => readObject(bucket, ...rest) }, key, length, signal)
}

/** The object described by an answer to a request for its first `length` bytes. `null` if the answer is invalid. */
function objectOf({ status, headers }: IncomingResponse, key: string, length: number): StoredObject | null {
  const [, last, total] = /^bytes 0-(\d{1,15})\/(\d{1,20})$/.exec(headers["content-range"] ?? "") ?? []
  const [size, etag] = [Number(total), bareEtag(headers.etag)]
  if (status !== 206 || etag === "" || etag.startsWith("W/") || Number(last) + 1 !== Math.min(length, size))
    return null
  return { key, size, etag, metadata: metadataIn(headers) }
}

/** `ArchiveSource.read`. */
export async function* readObject(
  bucket: S3Bucket,
  object: StoredObject,
  range: ByteRange,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const body = await getRange(bucket, object, range, signal)
  yield* checked(body, range, whereIn(bucket, object.key), signal)
}

/** The pieces of an answer's `body`, which must have exactly the bytes of `range`. */
async function* checked(
  body: AsyncIterable<Uint8Array>,
  range: ByteRange,
  where: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  try {
    let received = 0
    for await (const chunk of body) {
      signal.throwIfAborted()
      received += chunk.length
      if (received > rangeSize(range)) break
      yield chunk
    }
    signal.throwIfAborted()
    if (received !== rangeSize(range))
      throw new UnsealError(
        "ERR_STORE_UNAVAILABLE",
        `GetObject of ${where} gave ${counted(received, "byte")} instead of the ${rangeSize(range)} from ${range.start}`,
      )
  } catch (error) {
    throw s3Error(error, "GetObject", where, signal)
  }
}

async function getRange(
  bucket: S3Bucket,
  object: StoredObject,
  range: ByteRange,
  signal: AbortSignal,
): Promise<AsyncIterableIterator<Uint8Array>> {
  const where = whereIn(bucket, object.key)
  let response: IncomingResponse
  try {
    signal.throwIfAborted()
    response = await bucket.objects.send(
      {
        method: "GET",
        key: keyUnder(bucket.prefix, object.key),
        headers: { range: `bytes=${range.start}-${range.end - 1}`, "if-match": `"${object.etag}"` },
      },
      signal,
    )
  } catch (error) {
    if (!signal.aborted && statusOf(error) === 412) throw changed(object, where, error)
    throw s3Error(error, "GetObject", where, signal)
  }
  try {
    checkResponse(response, object, range, where)
  } catch (error) {
    await response.body.return?.()
    throw error
  }
  return response.body
}

function checkResponse(
  { status, headers }: IncomingResponse,
  object: StoredObject,
  range: ByteRange,
  where: string,
): void {
  if (status !== 206)
    throw new UnsealError("ERR_STORE_UNAVAILABLE", `GetObject of ${where} answered ${status} instead of 206`)
  if (strongEtag(headers.etag, "GetObject", where) !== object.etag) throw changed(object, where)
  const asked = `bytes ${range.start}-${range.end - 1}/${object.size}`
  if (headers["content-range"] !== asked)
    throw new UnsealError(
      "ERR_STORE_UNAVAILABLE",
      `GetObject of ${where} answered "${headers["content-range"] ?? "no range"}" instead of "${asked}"`,
    )
}

const changed = (object: StoredObject, where: string, cause?: unknown) =>
  new UnsealError(
    "ERR_OBJECT_CHANGED",
    `${where} is no longer the version of ${counted(object.size, "byte")} with ETag ${object.etag}`,
    { cause },
  )
