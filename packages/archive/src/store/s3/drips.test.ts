/** An S3 server that keeps sending, but never enough. It gets one request, and no second. */
import { once } from "node:events"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { crc32 } from "node:zlib"
import { afterEach, beforeEach, expect, test } from "vitest"
import { withDrips } from "../../../../../test/harness/network/drip.ts"
import { poisoned } from "../../../../../test/harness/poisoned.ts"
import { openStore } from "../open.ts"

const signal = new AbortController().signal
const object = { key: "a.ts", size: 1_000_000, etag: "1", metadata: {} }
const PART = Buffer.alloc(5 * 1024 * 1024)
const options = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const

let server: Server
let asked: string[]
beforeEach(async () => {
  asked = []
  server = createServer((request, response) => {
    request.resume()
    // Only the list of an upload's parts arrives.
    if (request.url!.includes("max-parts=")) return void response.end("<ListPartsResult/>")
    asked.push(request.method!)
    begin(request, response)
    const drip = setInterval(() => response.write(" "), 20)
    response.on("close", () => clearInterval(drip))
  })
  await once(server.listen(0, "127.0.0.1"), "listening")
})
afterEach(() => {
  server.closeAllConnections()
  server.close()
})

function begin({ headers }: IncomingMessage, response: ServerResponse): void {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "") ?? []
  if (first === undefined) return void response.writeHead(200, { "content-type": "application/xml" })
  response.writeHead(206, {
    etag: `"${object.etag}"`,
    "content-length": Number(last) + 1 - Number(first),
    "content-range": `bytes ${first}-${last}/${object.size}`,
  })
}

async function openS3(idleTimeoutMs: number) {
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const query = new URLSearchParams({ endpoint, region: "us-east-1", pathStyle: "true" })
  const credentials = { accessKeyId: "key", secretAccessKey: "secret" }
  return poisoned(await openStore(`s3://archives?${query}`, { env: {}, credentials, idleTimeoutMs }))
}
type Store = Awaited<ReturnType<typeof openS3>>

test.each<[string, (store: Store) => Promise<unknown>]>([
  [
    "an object's bytes",
    async (store) => {
      for await (const _ of store.read(object, { start: 0, end: object.size }, signal));
    },
  ],
  ["a removal", (store) => store.remove(object.key, signal)],
  ["the begin of an upload", (store) => store.create(object.key, 20_000_000, options, signal)],
  [
    "a part",
    async (store) => {
      const token = `multipart:upload:${PART.length}`
      const writer = await store.create(object.key, 20_000_000, { ...options, token }, signal)
      await writer.writePart(1, [PART], crc32(PART), signal)
    },
  ],
])("%s is given up, and not asked for again", (_, ask) =>
  withDrips(async (idleTimeoutMs) => {
    asked = []
    const store = await openS3(idleTimeoutMs)
    await expect(ask(store)).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
      slow: true,
      message: expect.stringContaining("less than 4096 bytes a second moved"),
    })
    expect(asked).toHaveLength(1)
    await store.close()
  }),
)
