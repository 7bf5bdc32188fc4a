/** What a store shows of its requests: each try, its method and status, and its end when the body has ended. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { ExchangeEnd, ExchangeStart } from "@unseal/archive/store/http/exchanges"
import { openStore } from "@unseal/archive/store/open"
import { afterEach, beforeEach, expect, test } from "vitest"
import { poisoned } from "../harness/poisoned.ts"

const signal = AbortSignal.timeout(60_000)
const BODY = Buffer.alloc(64, 0x47)
/** Azurite's own, which is no secret. */
const AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

let server: Server
let port: number
let failures: number
let cut: boolean
let seen: { request: ExchangeStart; end?: ExchangeEnd }[]

/** A store that has one object under every name but "missing". */
function answer(request: IncomingMessage, response: ServerResponse): void {
  const common = { etag: '"e1"', "last-modified": new Date(0).toUTCString(), "x-ms-blob-type": "BlockBlob" }
  request.resume()
  if (failures-- > 0) return void response.writeHead(500, { "content-length": "0" }).end()
  if (request.url?.includes("missing"))
    return void response.writeHead(404, { "x-ms-error-code": "BlobNotFound", "content-length": "0" }).end()
  if (request.method === "HEAD")
    return void response.writeHead(200, { ...common, "content-length": BODY.length }).end()
  const range = { "content-range": `bytes 0-63/${BODY.length}`, "content-length": BODY.length }
  response.writeHead(206, { ...common, ...range })
  if (!cut) return void response.end(BODY)
  response.write(BODY.subarray(0, 10))
  setTimeout(() => response.destroy(), 50)
  cut = false
}

beforeEach(async () => {
  ;[failures, cut, seen] = [0, false, []]
  server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  port = (server.address() as AddressInfo).port
})
afterEach(() => {
  server.close()
  server.closeAllConnections()
})

const open = async (kind: "s3" | "azure") =>
  poisoned(
    await openStore(
      kind === "s3"
        ? `s3://bucket?region=us-east-1&pathStyle=true&endpoint=http://127.0.0.1:${port}`
        : `azure://bucket?account=devstoreaccount1&endpoint=http://127.0.0.1:${port}/devstoreaccount1`,
      {
        env: { AZURE_STORAGE_KEY: AZURE_KEY },
        credentials: { accessKeyId: "a", secretAccessKey: "b" },
        onExchange(request) {
          const one: (typeof seen)[number] = { request }
          seen.push(one)
          return (end) => {
            one.end ??= end
          }
        },
      },
    ),
  )

const shown = () =>
  seen.map(({ request: { method, host }, end }) => [method, host, end?.status, end?.error !== undefined])

test.each(["s3", "azure"] as const)("%s shows each try of a look, and a missing object", async (kind) => {
  const store = await open(kind)
  failures = 1
  expect(await store.stat("object", signal)).toMatchObject({ size: BODY.length })
  expect(await store.stat("missing", signal)).toBeNull()
  await store.close()
  expect(shown().slice(0, 2)).toEqual([
    ["HEAD", "127.0.0.1", 500, false],
    ["HEAD", "127.0.0.1", 200, false],
  ])
  expect(shown().some(([, , status]) => status === 404)).toBe(true)
  expect(seen.every(({ request }) => request.port === port && !request.secure)).toBe(true)
  // By its target a repetition can be told from another request.
  const [first, second, third] = seen.map(({ request: { target } }) => target)
  expect([first === second, first === third]).toEqual([true, false])
})

test.each(["s3", "azure"] as const)(
  "%s shows a read that broke off, and the one that went on",
  async (kind) => {
    const store = await open(kind)
    const object = { key: "object", size: BODY.length, etag: kind === "s3" ? "e1" : '"e1"', metadata: {} }
    cut = true
    const read = store.read(object, { start: 0, end: BODY.length }, signal)
    // The rest is another range, which this server does not know.
    await Array.fromAsync(read).catch(() => {})
    expect(shown()[0]?.slice(0, 3)).toEqual(["GET", "127.0.0.1", 206])
    await expect.poll(() => shown()[0]?.[3]).toBe(true)
    expect(seen.length).toBeGreaterThan(1)
    await store.close()
  },
)

test.each(["s3", "azure"] as const)("%s: a read is over with its body, not with its head", async (kind) => {
  const store = await open(kind)
  const opened = await store.open("object", BODY.length, signal)
  expect(seen).toHaveLength(1)
  if (kind === "s3") expect(seen[0]?.end).toBeUndefined()
  expect(Buffer.concat(await Array.fromAsync(opened!.head, (piece) => Buffer.from(piece)))).toEqual(BODY)
  await expect.poll(() => shown()).toEqual([["GET", "127.0.0.1", 206, false]])
  await store.close()
})

test.each(["s3", "azure"] as const)("%s: a head that nobody wants is over as well", async (kind) => {
  const store = await open(kind)
  const opened = await store.open("object", BODY.length, signal)
  opened!.close()
  await expect.poll(() => shown().map(([, , status]) => status)).toEqual([206])
  await store.close()
})

test.each(["s3", "azure"] as const)("%s: a request that reaches nobody ends with its error", async (kind) => {
  const store = await open(kind)
  server.close()
  server.closeAllConnections()
  await expect(store.stat("object", signal)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
  await store.close()
  expect(shown().length).toBeGreaterThan(1)
  expect(shown().every(([, , status, failed]) => status === undefined && failed)).toBe(true)
})
