/**
 * Any S3-compatible store.
 *
 * Calls: HeadObject, HeadBucket, GetObject, PutObject, CreateMultipartUpload, UploadPart, ListParts,
 * CompleteMultipartUpload, AbortMultipartUpload, ListMultipartUploads, ListObjectsV2 (of one key), DeleteObject, RestoreObject.
 *
 * Limits: at most 10,000 parts, each of at least 5 MiB except the last. An object of one part or none is one PutObject.
 *
 * It relies on: a read after a write sees it (AWS since 2020); GetObject with If-Match returns one version or 412; a multipart
 * upload is invisible until its Complete and then visible at once; a part written again replaces the first.
 * `If-None-Match: *` on PutObject and Complete (AWS since 2024) keeps an existing object. On a store without it, the
 * destination is read before and after instead (commit.ts).
 *
 * Every body has a known length and its own CRC-32 header, never a trailer or chunked signing, which Ceph and Swift refuse.
 */
import { DeleteObjectCommand, ListMultipartUploadsCommand } from "@aws-sdk/client-s3"
import type { OpenedStore, OpenUpload } from "../contract.ts"
import { keyUnder } from "../identity.ts"
import type { AdapterOptions } from "../options.ts"
import { createMarkers } from "../page-markers.ts"
import type { S3StoreUrl } from "../url.ts"
import { restoreObject } from "./archival.ts"
import { objectIn, openBucket, type S3Bucket, whereIn } from "./connection/client.ts"
import { s3Error } from "./errors.ts"
import { isDenied } from "./looks.ts"
import { abortToken, createWriter, multipartToken, partSizeFor } from "./multipart.ts"
import { openObject, readObject, statObject } from "./read.ts"

/** Opens an S3 bucket. Credentials come from the SDK's own chain, or from the named profile. */
export async function openS3Store(url: S3StoreUrl, options: AdapterOptions): Promise<OpenedStore> {
  const bucket = await openBucket(url, options)
  return {
    location: bucket.location,
    missingPermission: () => (bucket.isBlind ? "s3:ListBucket" : null),
    stat: (key, signal) => statObject(bucket, key, signal),
    open: (key, length, signal) => openObject(bucket, key, length, signal),
    read: (object, range, signal) => readObject(bucket, object, range, signal),
    partSizeFor: (size) => partSizeFor(size, options.partSizeBytes),
    create: (key, size, createOptions, signal) =>
      createWriter(bucket, key, size, createOptions, options.partSizeBytes, signal),
    openUploads: (signal, key) => listUploads(bucket, signal, key),
    abortUpload: (upload, signal) => abortToken(bucket, upload.key, upload.token, signal),
    remove: (key, signal) => removeObject(bucket, key, signal),
    restore: (object, restoring, signal) => restoreObject(bucket, object, restoring, signal),
    async close() {
      bucket.destroy()
    },
  }
}

/** S3 gives the same answer whether or not the object existed. */
async function removeObject(bucket: S3Bucket, key: string, signal: AbortSignal): Promise<void> {
  try {
    signal.throwIfAborted()
    const command = new DeleteObjectCommand(objectIn(bucket, key))
    await bucket.call((client) => client.send(command, { abortSignal: signal }), signal)
  } catch (error) {
    throw s3Error(error, "DeleteObject", whereIn(bucket, key), signal)
  }
}

/** In the store's order: by key and, for one key, oldest first. */
async function* listUploads(
  bucket: S3Bucket,
  signal: AbortSignal,
  only?: string,
): AsyncGenerator<OpenUpload> {
  const prefix = keyUnder(bucket.prefix, "")
  const advancing = createMarkers(`ListMultipartUploads of ${bucket.location}`)
  let markers: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } | undefined = {}
  while (markers) {
    try {
      signal.throwIfAborted()
      const page: Awaited<ReturnType<typeof listPage>> = await listPage(
        bucket,
        prefix + (only ?? ""),
        markers,
        signal,
      )
      for (const { Key, UploadId, Initiated } of page.Uploads ?? [])
        if (Key !== undefined && UploadId !== undefined && (only === undefined || Key === prefix + only))
          yield {
            key: Key.slice(prefix.length),
            token: multipartToken(UploadId),
            startedAt: Initiated ?? new Date(0),
          }
      const { NextKeyMarker: key, NextUploadIdMarker: id } = page
      const next = advancing.advance(page.IsTruncated, key && `${key}\n${id ?? ""}`)
      markers = next === undefined ? undefined : { KeyMarker: key, UploadIdMarker: id }
    } catch (error) {
      if (only !== undefined && isDenied(error))
        bucket.notify({ what: "uploads-denied", permission: "s3:ListBucketMultipartUploads" })
      throw s3Error(error, "ListMultipartUploads", bucket.location, signal)
    }
  }
}

const listPage = (
  bucket: S3Bucket,
  prefix: string,
  markers: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined },
  signal: AbortSignal,
) =>
  bucket.call((client) => {
    const command = new ListMultipartUploadsCommand({
      Bucket: bucket.name,
      ...(prefix ? { Prefix: prefix } : {}),
      ...markers,
    })
    return client.send(command, { abortSignal: signal })
  }, signal)
