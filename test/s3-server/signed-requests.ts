/** Requests that are signed by hand. */

import { afterAll, beforeAll } from "vitest"
import { type S3Server, startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import { CREDENTIALS, type PlainRequest, type SendableRequest, send } from "./signed-request.ts"

export let server: S3Server
beforeAll(async () => {
  server = await startS3Server({ credentials: [CREDENTIALS], buckets: ["archives"] })
})
afterAll(() => server.close())

export const put = (key: string, body: string, headers: Record<string, string> = {}): PlainRequest => ({
  method: "PUT",
  path: `/archives/${key}`,
  headers,
  body,
})
export const verdict = async (request: SendableRequest): Promise<string> => {
  const { status, code } = await send(server.url, request)
  return status < 300 ? "accepted" : `${status} ${code}`
}
