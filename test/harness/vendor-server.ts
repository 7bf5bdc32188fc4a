/** A server that gives a vendor's answers in turn. */

import { createServer, type IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import { afterAll, beforeAll, beforeEach } from "vitest"
import { createVendorClient, type VendorClientOptions } from "../../packages/vendor/src/client.ts"

export const PROJECT = "123456"
export const ARCHIVE = "b40ef09b-3811-4726-b508-e41a0f96c68f"
export const SECRET = "canary-api-secret"
export const never = new AbortController().signal

export interface CannedResponse {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
  /** Closes the connection instead of answering. */
  readonly reset?: true
  /** Never answers. */
  readonly hang?: true
  /** Keeps sending for as long as somebody reads. */
  readonly endless?: true
}

export const vendor = {} as {
  /** The server sends these answers in turn and repeats the last one. */
  answers: CannedResponse[]
}
export let requests: { method: string; url: string; headers: IncomingMessage["headers"]; body: string }[]
const server = createServer(async (request, response) => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  const { method = "", url = "", headers } = request
  requests.push({ method, url, headers, body: Buffer.concat(chunks).toString() })
  const answer = vendor.answers.length > 1 ? vendor.answers.shift()! : vendor.answers[0]!
  if (answer.hang) return
  if (answer.reset) return void request.socket.destroy()
  const { body } = answer
  if (answer.endless) {
    const more = () => {
      while (!response.destroyed && response.write(Buffer.alloc(1024 * 1024, " ")));
    }
    response.on("drain", more)
    return more()
  }
  response.writeHead(answer.status ?? 200, { "content-type": "application/json", ...answer.headers })
  response.end(typeof body === "string" ? body : JSON.stringify(body ?? {}))
})
export let baseUrl: string

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})
beforeEach(() => {
  vendor.answers = [{}]
  requests = []
})

export const client = (options: Partial<VendorClientOptions> = {}) =>
  createVendorClient({
    platform: "opentok",
    projectId: PROJECT,
    credentials: { scheme: "opentok", apiSecret: SECRET },
    baseUrl,
    baseMs: 1,
    ...options,
  })

export const archive = (id: string, more: object = {}) => ({ id, status: "uploaded", ...more })
