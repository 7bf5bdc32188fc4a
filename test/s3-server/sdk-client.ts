/** The SDK's client on a server of this project. */

import { mkdtemp, readdir, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3"
import { afterAll, beforeAll, expect } from "vitest"
import { type S3Server, startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import { CREDENTIALS } from "./signed-request.ts"

export const Bucket = "archives"
let directory: string
let server: S3Server
export let client: S3Client

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-test-"))
  server = await startS3Server({ credentials: [CREDENTIALS], buckets: [Bucket], directory })
  client = new S3Client({
    endpoint: server.url,
    region: "us-east-1",
    credentials: CREDENTIALS,
    forcePathStyle: true,
    maxAttempts: 1,
  })
})
afterAll(async () => {
  client.destroy()
  await server.close()
  expect(await readdir(directory)).toEqual([])
  await rm(directory, { recursive: true })
})

/** The SDK's name for the error that `promise` rejects with, and its status. */
export const failure = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "none",
    (error) => `${error.name} ${error.$metadata?.httpStatusCode}`,
  )
export const put = (Key: string, Body: string | Buffer, more: object = {}) =>
  client.send(new PutObjectCommand({ Bucket, Key, Body, ...more }))
