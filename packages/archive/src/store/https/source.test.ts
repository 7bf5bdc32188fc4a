import { createHash } from "node:crypto"
import { expect, test } from "vitest"
import {
  answer,
  failure,
  KEY,
  open,
  peer,
  requests,
  SECRET,
  signal,
  url,
} from "../../../../../test/harness/stores/https-store.ts"
import { copied } from "../small-object.ts"

async function readAll(store = open(), size = peer.content.length): Promise<Buffer> {
  const object = await store.stat(KEY, signal)
  const chunks: Uint8Array[] = []
  for (let start = 0; start < size; start += 400_000)
    for await (const chunk of store.read(object!, { start, end: Math.min(start + 400_000, size) }, signal))
      chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

test("an object is read in ranges of one version, with GET only", async () => {
  const store = open()
  expect(await store.stat(KEY, signal)).toEqual({ key: KEY, size: 1_000_000, etag: '"v1"', metadata: {} })
  expect(sha256(await readAll(store))).toBe(sha256(peer.content))
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
    peer.version = { "last-modified": "Tue, 01 Jul 2025 10:00:00 GMT", ...(etag && { etag }) }
    expect(sha256(await readAll())).toBe(sha256(peer.content))
    expect(requests.at(-1)?.headers["if-unmodified-since"]).toBe("Tue, 01 Jul 2025 10:00:00 GMT")
  }
  // An empty ETag would be every version's.
  for (const none of [{}, { etag: '""' }, { etag: "" }]) {
    peer.version = none
    expect(await failure(open().stat(KEY, signal))).toMatch(/^ERR_STORE_DENIED: .*neither an ETag/)
  }
})

test("a missing object is null, and so is any other key", async () => {
  expect(await open().stat("another", signal)).toBeNull()
  answer(404)
  expect(await open().stat(KEY, signal)).toBeNull()
})

test("another version than the one found first is reported as changed", async () => {
  const store = open()
  const object = await store.stat(KEY, signal)
  peer.version = { etag: '"v2"' }
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
    [200, { ...peer.version }],
    [206, { ...peer.version, "content-range": "bytes 1-16/1000000" }],
    [206, { ...peer.version }],
  ] as const) {
    answer(status, headers as Record<string, string>, "0123456789abcdef")
    const reading = Array.fromAsync(open().read(object, { start: 0, end: 16 }, signal))
    expect(await failure(reading)).toMatch(/^ERR_STORE_UNAVAILABLE/)
  }
  let cuts = 0
  peer.intercept = (request, response) => {
    if (request.headers.range !== "bytes=0-399999" || cuts++ > 0) return false
    response.writeHead(206, { ...peer.version, "content-range": "bytes 0-399999/1000000" })
    response.write(peer.content.subarray(0, 100_000), () => response.destroy())
    return true
  }
  expect(sha256(await readAll(store))).toBe(sha256(peer.content))
  expect(requests.some(({ headers }) => /^bytes=[1-9]\d*-399999$/.test(headers.range ?? ""))).toBe(true)
})

test("an expired URL is renewed once, however many requests find it expired", async () => {
  let renewed = 0
  const valid = new Set(["/second"])
  peer.intercept = (request, response) => {
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
  expect(Buffer.concat(parts).equals(peer.content.subarray(0, 160))).toBe(true)
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
  peer.intercept = (request, response) => {
    const left = Number(/^\/hop(\d)/.exec(request.url!)?.[1] ?? 0)
    if (left === 0) return false
    response.writeHead([301, 302, 303, 307, 308][left % 5]!, { location: `/hop${left - 1}?${SECRET}` }).end()
    return true
  }
  expect(await open({ url: url("/hop5") }).stat(KEY, signal)).toMatchObject({ size: 1_000_000 })
  expect(await failure(open({ url: url("/hop6") }).stat(KEY, signal))).toMatch(/redirected more than 5 times/)
})
