import { once } from "node:events"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach, beforeEach, expect, test } from "vitest"
import { withDrips } from "../../../../../test/harness/network/drip.ts"
import { poisoned } from "../../../../../test/harness/poisoned.ts"
import { openStore } from "../open.ts"

const signal = new AbortController().signal
let server: Server
let closed: Promise<unknown>
let behave: (response: ServerResponse, request: IncomingMessage) => void
beforeEach(async () => {
  server = createServer((request, response) => {
    closed = once(response, "close")
    request.resume()
    behave(response, request)
  })
  await once(server.listen(0, "127.0.0.1"), "listening")
})
afterEach(() => {
  server.closeAllConnections()
  server.close()
})

async function openAzure(idleTimeoutMs: number) {
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/account`
  const env = { AZURE_STORAGE_ACCOUNT: "account", AZURE_STORAGE_KEY: Buffer.alloc(64, 1).toString("base64") }
  return poisoned(
    await openStore(`azure://archives?${new URLSearchParams({ endpoint })}`, { env, idleTimeoutMs }),
  )
}
type Store = Awaited<ReturnType<typeof openAzure>>

const object = { key: "a.ts", size: 1_000_000, etag: '"0x1"', metadata: {} }
async function readAll(store: Store): Promise<number> {
  let bytes = 0
  for await (const piece of store.read(object, { start: 0, end: object.size }, signal)) bytes += piece.length
  return bytes
}
async function listUploads(store: Store): Promise<void> {
  for await (const _ of store.openUploads(signal));
}

test.each<[string, number, (store: Store) => Promise<unknown>]>([
  ["a listing", 200, listUploads],
  ["an error instead of a listing", 403, listUploads],
  ["an error instead of an object's bytes", 404, readAll],
])(
  "an answer that does not end is given up, and its connection with it: %s",
  async (_, status, ask) => {
    behave = (response) => {
      response.writeHead(status, { "content-type": "application/xml" })
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(1024 * 1024, " ")));
      }
      response.on("drain", more)
      more()
    }
    const store = await openAzure(5_000)
    await expect(ask(store)).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
      message: expect.stringMatching(/^(listing|reading) .*: the response has more than 16777216 bytes$/),
    })
    await closed
    await store.close()
  },
  20_000,
)

test.each<[string, (store: Store) => Promise<unknown>, RegExp]>([
  ["a listing", listUploads, /^listing .*: less than 4096 bytes a second moved$/],
  ["an object's bytes", readAll, /^reading .*: less than 4096 bytes a second moved$/],
])("an answer that drips is given up, and its connection with it: %s", async (_, ask, message) => {
  let asked = 0
  behave = (response, request) => {
    asked++
    const [first, last] = /(\d+)-(\d+)$/.exec(String(request.headers["x-ms-range"]))?.slice(1) ?? []
    if (first === undefined) response.writeHead(200)
    else
      response.writeHead(206, {
        etag: object.etag,
        "content-length": Number(last) + 1 - Number(first),
        "content-range": `bytes ${first}-${last}/${object.size}`,
      })
    const drip = setInterval(() => response.write(" "), 20)
    response.on("close", () => clearInterval(drip))
  }
  await withDrips(async (idleTimeoutMs) => {
    asked = 0
    const store = await openAzure(idleTimeoutMs)
    await expect(ask(store)).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
      message: expect.stringMatching(message),
    })
    expect(asked).toBe(1)
    await closed
    await store.close()
  })
})

test("a listing may take longer than the limit of silence while it keeps coming", async () => {
  const names = Array.from({ length: 1_000 }, (_, number) => `${"n".repeat(60)}-${number}.ts`)
  const blobs = names.map(
    (name) => `<Blob><Name>${name}</Name><Properties><Content-Length>1</Content-Length></Properties></Blob>`,
  )
  const pieces = [...blobs, "</Blobs><NextMarker /></EnumerationResults>"]
  behave = (response) => {
    response.writeHead(200, { "content-type": "application/xml" })
    response.write(
      `<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="archives"><Blobs>`,
    )
    const send = setInterval(() => {
      response.write(pieces.splice(0, 100).join(""))
      if (pieces.length > 0) return
      clearInterval(send)
      response.end()
    }, 150)
  }
  const store = await openAzure(1_000)
  await listUploads(store)
  expect(pieces).toEqual([])
  await store.close()
})
