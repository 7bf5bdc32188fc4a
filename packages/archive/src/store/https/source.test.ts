import { execFile } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import type { IncomingMessage, ServerResponse } from "node:http"
import { createServer, type Server } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { getCACertificates, setDefaultCACertificates } from "node:tls"
import { promisify } from "node:util"
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest"
import { withDrips } from "../../../../../test/harness/network/drip.ts"
import { poisoned } from "../../../../../test/harness/poisoned.ts"
import { copied } from "../small-object.ts"
import { parseHostList } from "./allowed-hosts.ts"
import { type HttpsStoreOptions, openHttpsStore } from "./source.ts"

const signal = AbortSignal.timeout(60_000)
const SECRET = "X-Amz-Signature=do-not-show"
const KEY = "vendor://123456/archive"

let directory: string
let server: Server
let port: number
/** The server's content and behaviour, reset for each test. */
let content: Buffer
let version: { etag?: string; "last-modified"?: string }
let intercept: (request: IncomingMessage, response: ServerResponse) => boolean
let requests: { url: string; headers: IncomingMessage["headers"] }[]

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-https-"))
  const [key, certificate] = [join(directory, "key.pem"), join(directory, "cert.pem")]
  await promisify(execFile)("openssl", [
    ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"],
    ...["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", key, "-out", certificate],
  ])
  const pem = await readFile(certificate, "utf8")
  setDefaultCACertificates([...getCACertificates("default"), pem])
  server = createServer({ key: await readFile(key), cert: pem }, (request, response) => {
    requests.push({ url: request.url ?? "", headers: request.headers })
    if (!intercept(request, response)) serve(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  port = (server.address() as AddressInfo).port
})
afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await rm(directory, { recursive: true })
})

let opened: { close(): Promise<void> }[] = []
beforeEach(() => {
  content = randomBytes(1_000_000)
  version = { etag: '"v1"', "last-modified": "Tue, 01 Jul 2025 10:00:00 GMT" }
  intercept = () => false
  requests = []
})
afterEach(async () => {
  for (const store of opened) await store.close()
  opened = []
})

/** Answers a presigned GET as S3 does. */
function serve(request: IncomingMessage, response: ServerResponse): void {
  const { range, "if-match": match, "if-unmodified-since": since } = request.headers
  if (request.method !== "GET") return void response.writeHead(403).end()
  if ((match && match !== version.etag) || (since && since !== version["last-modified"]))
    return void response.writeHead(412).end()
  const [, from = "0", to = "0"] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? []
  const [start, end] = [Number(from), Math.min(Number(to) + 1, content.length)]
  if (start >= content.length)
    return void response.writeHead(416, { ...version, "content-range": `bytes */${content.length}` }).end()
  response.writeHead(206, {
    ...version,
    "content-range": `bytes ${start}-${end - 1}/${content.length}`,
    "content-length": end - start,
  })
  response.end(content.subarray(start, end))
}

const url = (path = "/bucket/archive.mp4") => `https://127.0.0.1:${port}${path}?${SECRET}`

function open(options: Partial<HttpsStoreOptions> = {}) {
  const store = poisoned(
    openHttpsStore({
      ...{ key: KEY, url: url(), hosts: parseHostList(`127.0.0.1:${port}`), idleTimeoutMs: 5_000 },
      ...options,
    }),
  )
  opened.push(store)
  return store
}

async function readAll(store = open(), size = content.length): Promise<Buffer> {
  const object = await store.stat(KEY, signal)
  const chunks: Uint8Array[] = []
  for (let start = 0; start < size; start += 400_000)
    for await (const chunk of store.read(object!, { start, end: Math.min(start + 400_000, size) }, signal))
      chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")
const answer = (status: number, headers: Record<string, string | number> = {}, body = "") => {
  intercept = (_request, response) => {
    response.writeHead(status, headers).end(body)
    return true
  }
}
/** The code that `work` fails with. Checks that the message does not contain the URL's query. */
async function failure(work: Promise<unknown>): Promise<string> {
  const error = (await work.then(
    () => new Error("it did not fail"),
    (error) => error,
  )) as Error & { code?: string }
  expect(JSON.stringify([error.message, error.stack, String(error.cause)])).not.toContain("do-not-show")
  return `${error.code}: ${error.message}`
}

test("an object is read in ranges of one version, with GET only", async () => {
  const store = open()
  expect(await store.stat(KEY, signal)).toEqual({ key: KEY, size: 1_000_000, etag: '"v1"', metadata: {} })
  expect(sha256(await readAll(store))).toBe(sha256(content))
  expect(requests.map(({ headers }) => [headers.range, headers["if-match"]])).toEqual([
    ["bytes=0-0", undefined],
    ["bytes=0-0", undefined],
    ["bytes=0-399999", '"v1"'],
    ["bytes=400000-799999", '"v1"'],
    ["bytes=800000-999999", '"v1"'],
  ])
})

test("an object without a strong ETag is pinned by its date, and one without either is refused", async () => {
  for (const etag of [undefined, 'W/"v1"']) {
    version = { "last-modified": "Tue, 01 Jul 2025 10:00:00 GMT", ...(etag && { etag }) }
    expect(sha256(await readAll())).toBe(sha256(content))
    expect(requests.at(-1)?.headers["if-unmodified-since"]).toBe("Tue, 01 Jul 2025 10:00:00 GMT")
  }
  // An empty ETag would be every version's.
  for (const none of [{}, { etag: '""' }, { etag: "" }]) {
    version = none
    expect(await failure(open().stat(KEY, signal))).toMatch(/^ERR_STORE_DENIED: .*neither an ETag/)
  }
})

test("a missing object is null, and so is any other key", async () => {
  expect(await open().stat("another", signal)).toBeNull()
  answer(404)
  expect(await open().stat(KEY, signal)).toBeNull()
})

test.each(["416", "200"])("an empty object has 0 bytes if it answers %s", async (status) => {
  if (status === "416") content = Buffer.alloc(0)
  else answer(200, { ...version, "content-length": 0 })
  expect(await open().stat(KEY, signal)).toMatchObject({ size: 0 })
})

test("another version than the one found first is reported as changed", async () => {
  const store = open()
  const object = await store.stat(KEY, signal)
  version = { etag: '"v2"' }
  const reading = () => Array.fromAsync(store.read(object!, { start: 0, end: 16 }, signal))
  expect(await failure(reading())).toMatch(/^ERR_OBJECT_CHANGED/)
  // A host without If-Match.
  const wrong = { etag: '"v2"', "content-range": "bytes 0-15/1000000" }
  answer(206, wrong, "0123456789abcdef")
  expect(await failure(reading())).toMatch(/^ERR_OBJECT_CHANGED/)
  answer(404)
  expect(await failure(reading())).toMatch(/^ERR_OBJECT_NOT_FOUND/)
})

test("a range that is ignored, moved or cut short is refused, and requested again from where it ended", async () => {
  const store = open()
  const object = (await store.stat(KEY, signal))!
  for (const [status, headers] of [
    [200, { ...version }],
    [206, { ...version, "content-range": "bytes 1-16/1000000" }],
    [206, { ...version }],
  ] as const) {
    answer(status, headers as Record<string, string>, "0123456789abcdef")
    const reading = Array.fromAsync(open().read(object, { start: 0, end: 16 }, signal))
    expect(await failure(reading)).toMatch(/^ERR_STORE_UNAVAILABLE/)
  }
  let cuts = 0
  intercept = (request, response) => {
    if (request.headers.range !== "bytes=0-399999" || cuts++ > 0) return false
    response.writeHead(206, { ...version, "content-range": "bytes 0-399999/1000000" })
    response.write(content.subarray(0, 100_000), () => response.destroy())
    return true
  }
  expect(sha256(await readAll(store))).toBe(sha256(content))
  expect(requests.some(({ headers }) => /^bytes=[1-9]\d*-399999$/.test(headers.range ?? ""))).toBe(true)
})

test("an expired URL is renewed once, however many requests find it expired", async () => {
  let renewed = 0
  const valid = new Set(["/second"])
  intercept = (request, response) => {
    if (valid.has(new URL(request.url!, url()).pathname)) return false
    response.writeHead(403).end("<Error><Code>AccessDenied</Code></Error>")
    return true
  }
  const store = open({
    url: url("/first"),
    renew: async () => {
      renewed++
      return url(renewed === 1 ? "/second" : "/third")
    },
  })
  const object = (await store.stat(KEY, signal))!
  expect(renewed).toBe(1)
  valid.delete("/second")
  valid.add("/third")
  const parts = await Promise.all(
    Array.from({ length: 10 }, async (_, index) =>
      Buffer.concat(
        await Array.fromAsync(
          copied(store.read(object, { start: index * 16, end: index * 16 + 16 }, signal)),
        ),
      ),
    ),
  )
  expect(renewed).toBe(2)
  expect(Buffer.concat(parts).equals(content.subarray(0, 160))).toBe(true)
})

test("without a URL one is requested first; without another, or if that is refused too, the error says so", async () => {
  const lazy = open({ url: undefined, renew: async () => url() })
  expect(await lazy.stat(KEY, signal)).toMatchObject({ size: 1_000_000 })
  const gone = open({ url: undefined, renew: async () => null })
  expect(await failure(gone.stat(KEY, signal))).toMatch(/^ERR_OBJECT_NOT_FOUND/)
  for (const status of [401, 403, 410]) {
    answer(status)
    expect(await failure(open().stat(KEY, signal))).toMatch(/^ERR_STORE_DENIED: .*nobody can renew it/)
    const refused = open({ renew: async () => url("/new") })
    expect(await failure(refused.stat(KEY, signal))).toMatch(/^ERR_STORE_DENIED: .*again, with a new URL/)
  }
})

test("five redirects are followed, six are not", async () => {
  intercept = (request, response) => {
    const left = Number(/^\/hop(\d)/.exec(request.url!)?.[1] ?? 0)
    if (left === 0) return false
    response.writeHead([301, 302, 303, 307, 308][left % 5]!, { location: `/hop${left - 1}?${SECRET}` }).end()
    return true
  }
  expect(await open({ url: url("/hop5") }).stat(KEY, signal)).toMatchObject({ size: 1_000_000 })
  expect(await failure(open({ url: url("/hop6") }).stat(KEY, signal))).toMatch(/redirected more than 5 times/)
})

test.each([
  ["to plain http", () => `http://127.0.0.1:${port}/?${SECRET}`],
  ["to another host", () => `https://metadata.internal/?${SECRET}`],
  ["to another port", () => `https://127.0.0.1:1/?${SECRET}`],
  ["to a file", () => "file:///etc/passwd"],
  ["to credentials", () => `https://user:do-not-show@127.0.0.1:${port}/`],
  ["to nowhere", () => "https://"],
])("a redirect %s is refused, and nothing is sent there", async (_name, location) => {
  answer(302, { location: location() })
  expect(await failure(open().stat(KEY, signal))).toMatch(/^ERR_STORE_DENIED: .*a redirect leads to /)
  expect(requests).toHaveLength(1)
})

test("a host that is not allowed, or whose name leads to this machine, is never contacted", async () => {
  const refused = async (hosts: string, target: string) =>
    failure(open({ hosts: parseHostList(hosts), url: target }).stat(KEY, signal))
  expect(await refused("example.com", url())).toMatch(/^ERR_STORE_DENIED: .*not one of the allowed hosts/)
  expect(await refused("", url())).toMatch(/^ERR_STORE_DENIED: .*not one of the allowed hosts/)
  expect(await refused(`localhost:${port}`, `https://localhost:${port}/?${SECRET}`)).toMatch(
    /^ERR_STORE_DENIED: .*localhost leads to an address that is not public/,
  )
  expect(requests).toEqual([])
})

test("without a list of hosts, any host is allowed with https", async () => {
  const anywhere = (target: string) => open({ hosts: undefined, url: target }).stat(KEY, signal)
  expect(await anywhere(`https://localhost:${port}/?${SECRET}`)).toMatchObject({ size: 1_000_000 })
  expect(await failure(anywhere(`http://127.0.0.1:${port}/?${SECRET}`))).toMatch(/^ERR_STORE_DENIED/)
})

test("a host that refuses, is silent or is away is reported with the right code", async () => {
  answer(400)
  expect(await failure(open().stat(KEY, signal))).toMatch(/^ERR_STORE_DENIED/)
  answer(503)
  expect(await failure(open().stat(KEY, signal))).toMatch(/^ERR_STORE_UNAVAILABLE/)
  intercept = () => true
  expect(await failure(open({ idleTimeoutMs: 50 }).stat(KEY, signal))).toMatch(
    /^ERR_STORE_UNAVAILABLE: .*nothing moved for 0.05 s/,
  )
  const away = open({ hosts: undefined, url: `https://127.0.0.1:1/?${SECRET}` })
  expect(await failure(away.stat(KEY, signal))).toMatch(/^ERR_STORE_UNAVAILABLE: .*ECONNREFUSED/)
})

test("a body that stops moving is given up, and an abort ends the read with its reason", async () => {
  const store = open({ idleTimeoutMs: 100 })
  const object = (await open().stat(KEY, signal))!
  intercept = (_request, response) => {
    response.writeHead(206, { ...version, "content-range": "bytes 0-15/1000000", "content-length": 16 })
    response.write("12345678")
    return true
  }
  const abort = new AbortController()
  const reason = new Error("enough")
  const reading = (async () => {
    for await (const _chunk of open().read(object, { start: 0, end: 16 }, abort.signal)) abort.abort(reason)
  })()
  await expect(reading).rejects.toBe(reason)
  intercept = (_request, response) => {
    response.writeHead(206, { ...version, "content-range": "bytes 0-15/1000000", "content-length": 16 })
    response.flushHeaders()
    return true
  }
  expect(await failure(Array.fromAsync(store.read(object, { start: 0, end: 16 }, signal)))).toMatch(
    /^ERR_STORE_UNAVAILABLE: .*nothing moved for 0.1 s/,
  )
})

test("a body that drips is given up once, however regularly it comes", async () => {
  const object = (await open().stat(KEY, signal))!
  let asked = 0
  intercept = (request, response) => {
    asked++
    const start = Number(/^bytes=(\d+)-/.exec(String(request.headers.range))?.[1])
    response.writeHead(206, {
      ...version,
      "content-range": `bytes ${start}-999999/1000000`,
      "content-length": 1_000_000 - start,
    })
    const drip = setInterval(() => response.write("x"), 20)
    response.on("close", () => clearInterval(drip))
    return true
  }
  await withDrips(async (idleTimeoutMs) => {
    asked = 0
    const reading = Array.fromAsync(
      open({ idleTimeoutMs }).read(object, { start: 0, end: 1_000_000 }, signal),
    )
    expect(await failure(reading)).toMatch(/^ERR_STORE_UNAVAILABLE: .*less than 4096 bytes a second moved/)
    expect(asked).toBe(1)
  })
})
