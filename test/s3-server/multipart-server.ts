/** A server, a client, and uploads begun by it. */

import { createHash, randomBytes } from "node:crypto"
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  type CompleteMultipartUploadCommandInput,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  GetObjectCommand,
  ListPartsCommand,
  S3Client,
  UploadPartCommand,
  type UploadPartCommandInput,
} from "@aws-sdk/client-s3"
import { afterAll, afterEach, beforeAll } from "vitest"
import { type S3Server, startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import { CREDENTIALS } from "./signed-request.ts"

export const Bucket = "archives"
export const MIN = 5 * 1024 * 1024
export const FIRST = randomBytes(MIN)

export const LAST = randomBytes(1000)

export let server: S3Server
export let client: S3Client

export const connect = (to: S3Server) =>
  new S3Client({
    endpoint: to.url,
    region: "us-east-1",
    credentials: CREDENTIALS,
    forcePathStyle: true,
    maxAttempts: 1,
    // No checksums by default: if an upload was begun without an algorithm, its parts may carry none.
    requestChecksumCalculation: "WHEN_REQUIRED",
  })

beforeAll(async () => {
  server = await startS3Server({ credentials: [CREDENTIALS], buckets: [Bucket] })
  client = connect(server)
})
afterEach(async () => {
  for (const { key, uploadId } of server.openUploads())
    await client.send(new AbortMultipartUploadCommand({ Bucket, Key: key, UploadId: uploadId }))
})
afterAll(async () => {
  client.destroy()
  await server.close()
})

export const failure = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "none",
    (error) => `${error.name} ${error.$metadata?.httpStatusCode}`,
  )

/** Begins an upload of `Key`. Returns short names for its operations. */
export async function begin(Key: string, more: Partial<CreateMultipartUploadCommandInput> = {}, by = client) {
  const { UploadId, ...created } = await by.send(new CreateMultipartUploadCommand({ Bucket, Key, ...more }))
  const upload = { Bucket, Key, UploadId }
  return {
    UploadId,
    created,
    async part(PartNumber: number, Body: Buffer, options: Partial<UploadPartCommandInput> = {}) {
      const { $metadata, ...tags } = await by.send(
        new UploadPartCommand({ ...upload, PartNumber, Body, ...options }),
      )
      return { PartNumber, ...tags }
    },
    complete: (Parts: CompletedPart[], options: Partial<CompleteMultipartUploadCommandInput> = {}) =>
      by.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts }, ...options })),
    parts: (options: object = {}) => by.send(new ListPartsCommand({ ...upload, ...options })),
    abort: () => by.send(new AbortMultipartUploadCommand(upload)),
  }
}

export const read = async (Key: string, Range?: string): Promise<Buffer> => {
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key, Range }))
  return Buffer.from(await Body!.transformToByteArray())
}

export const md5 = (...data: Buffer[]): Buffer => createHash("md5").update(Buffer.concat(data)).digest()
