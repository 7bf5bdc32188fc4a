/** A server whose quirks and policies are cleared after each test. */

import { afterAll, afterEach, beforeAll, expect } from "vitest"
import { type S3Server, startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import {
  CREDENTIALS,
  type PlainRequest,
  type PlainResponse,
  type SigningOptions,
  send,
  signed,
} from "./signed-request.ts"

export const MIB = 1024 * 1024

export const BODY = Buffer.from("of an object")
export let server: S3Server

beforeAll(async () => {
  server = await startS3Server({ credentials: [CREDENTIALS], buckets: ["archives"] })
  expect((await request(put("object"))).status).toBe(200)
})
afterEach(() => {
  server.quirks.clear()
  server.policies.delete(CREDENTIALS.accessKeyId)
})
afterAll(() => server.close())

export const request = async (plain: PlainRequest, options: SigningOptions = {}): Promise<PlainResponse> =>
  send(server.url, await signed(server.url, plain, options))
export const put = (key: string, headers: Record<string, string> = {}, body = BODY): PlainRequest => ({
  method: "PUT",
  path: `/archives/${key}`,
  headers,
  body,
})
export const get = (key: string): PlainRequest => ({ method: "GET", path: `/archives/${key}` })
export const head = (key: string): PlainRequest => ({ method: "HEAD", path: `/archives/${key}` })
