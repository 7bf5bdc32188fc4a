import { expect, test } from "vitest"
import { withDrips } from "../../../../../test/harness/network/drip.ts"
import {
  answer,
  failure,
  KEY,
  open,
  peer,
  port,
  requests,
  SECRET,
  signal,
  url,
} from "../../../../../test/harness/stores/https-store.ts"
import { parseHostList } from "./allowed-hosts.ts"

test.each(["416", "200"])("an empty object has 0 bytes if it answers %s", async (status) => {
  if (status === "416") peer.content = Buffer.alloc(0)
  else answer(200, { ...peer.version, "content-length": 0 })
  expect(await open().stat(KEY, signal)).toMatchObject({ size: 0 })
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
  peer.intercept = () => true
  expect(await failure(open({ idleTimeoutMs: 50 }).stat(KEY, signal))).toMatch(
    /^ERR_STORE_UNAVAILABLE: .*nothing moved for 0.05 s/,
  )
  const away = open({ hosts: undefined, url: `https://127.0.0.1:1/?${SECRET}` })
  expect(await failure(away.stat(KEY, signal))).toMatch(/^ERR_STORE_UNAVAILABLE: .*ECONNREFUSED/)
})

test("a body that stops moving is given up, and an abort ends the read with its reason", async () => {
  const store = open({ idleTimeoutMs: 100 })
  const object = (await open().stat(KEY, signal))!
  peer.intercept = (_request, response) => {
    response.writeHead(206, { ...peer.version, "content-range": "bytes 0-15/1000000", "content-length": 16 })
    response.write("12345678")
    return true
  }
  const abort = new AbortController()
  const reason = new Error("enough")
  const reading = (async () => {
    for await (const _chunk of open().read(object, { start: 0, end: 16 }, abort.signal)) abort.abort(reason)
  })()
  await expect(reading).rejects.toBe(reason)
  peer.intercept = (_request, response) => {
    response.writeHead(206, { ...peer.version, "content-range": "bytes 0-15/1000000", "content-length": 16 })
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
  peer.intercept = (request, response) => {
    asked++
    const start = Number(/^bytes=(\d+)-/.exec(String(request.headers.range))?.[1])
    response.writeHead(206, {
      ...peer.version,
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
