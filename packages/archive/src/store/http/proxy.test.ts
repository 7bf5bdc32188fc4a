import { once } from "node:events"
import { type AddressInfo, createServer } from "node:net"
import { setTimeout as rest } from "node:timers/promises"
import { afterEach, describe, expect, it, test, vi } from "vitest"
import { originOf } from "./origin.ts"
import { isOfProxy, openTunnel, proxyRefusal, readProxies } from "./proxy.ts"

const SECURE = originOf(new URL("https://s3.example.test"))
const PLAIN = originOf(new URL("http://s3.example.test:9000"))

/** Host and variable of the proxy for each origin, or `null`. */
function proxyFor(env: Readonly<Record<string, string>>, ...urls: string[]) {
  const find = readProxies(env)
  return urls.map((url) => {
    const proxy = find(originOf(new URL(url)))
    return proxy === undefined ? null : `${proxy.variable} ${proxy.host}:${proxy.port}`
  })
}

describe("the proxy of an origin", () => {
  const both = ["https://s3.example.test", "http://s3.example.test:9000"]

  it.each<[Readonly<Record<string, string>>, (string | null)[]]>([
    [{}, [null, null]],
    [{ HTTPS_PROXY: "http://a:1" }, ["HTTPS_PROXY a:1", null]],
    [{ HTTP_PROXY: "http://b:2" }, [null, "HTTP_PROXY b:2"]],
    [{ HTTPS_PROXY: "http://a:1", HTTP_PROXY: "http://b:2" }, ["HTTPS_PROXY a:1", "HTTP_PROXY b:2"]],
    [{ ALL_PROXY: "http://c:3" }, ["ALL_PROXY c:3", "ALL_PROXY c:3"]],
    [{ ALL_PROXY: "http://c:3", http_proxy: "http://b:2" }, ["ALL_PROXY c:3", "http_proxy b:2"]],
    [{ HTTPS_PROXY: "http://a:1", https_proxy: "http://d:4" }, ["https_proxy d:4", null]],
    [{ all_proxy: "http://e:5", ALL_PROXY: "http://c:3" }, ["all_proxy e:5", "all_proxy e:5"]],
    [{ HTTPS_PROXY: "", ALL_PROXY: "c" }, ["ALL_PROXY c:80", "ALL_PROXY c:80"]],
    [{ HTTPS_PROXY: "https://a", HTTP_PROXY: "http://[::1]:2" }, ["HTTPS_PROXY a:443", "HTTP_PROXY ::1:2"]],
  ])("with %j is %j, over TLS and without", (env, expected) => {
    expect(proxyFor(env, ...both)).toEqual(expected)
  })

  it("has the user and password of the variable, decoded", () => {
    const proxy = readProxies({ HTTPS_PROXY: "http://o%40ps:p%3Aw%25@a:1" })(SECURE)!
    expect(proxy.authorization).toBe(`Basic ${Buffer.from("o@ps:p:w%").toString("base64")}`)
    expect(readProxies({ HTTPS_PROXY: "a:1" })(SECURE)!.authorization).toBeUndefined()
  })
})

describe("NO_PROXY", () => {
  const isDirect = (NO_PROXY: string, url: string) =>
    proxyFor({ ALL_PROXY: "p:1", NO_PROXY }, url)[0] === null

  it.each([
    ["*", "https://s3.example.test"],
    ["s3.example.test", "https://s3.example.test"],
    ["S3.Example.TEST", "https://s3.example.test"],
    ["example.test", "https://archives.s3.example.test"],
    [".example.test", "https://s3.example.test"],
    [".example.test", "https://example.test"],
    ["*.example.test", "https://s3.example.test"],
    ["other.test s3.example.test:443", "https://s3.example.test"],
    ["10.0.0.0/8", "http://10.1.2.3"],
    ["fd00::/8", "http://[fd00::7]"],
    ["fd00::7", "http://[fd00::7]"],
    ["[fd00::7]:9000", "http://[fd00::7]:9000"],
    ["10.1.2.3", "http://10.1.2.3:9000"],
  ])("with %s leads directly to %s", (text, url) => expect(isDirect(text, url)).toBe(true))

  it.each([
    ["", "https://s3.example.test"],
    ["example.testing", "https://s3.example.test"],
    ["ample.test", "https://s3.example.test"],
    ["archives.s3.example.test", "https://s3.example.test"],
    ["s3.example.test:9000", "https://s3.example.test"],
    ["10.0.0.0/8", "http://11.1.2.3"],
    ["10.0.0.0/40", "http://10.1.2.3"],
    ["2.3", "http://10.1.2.3"],
    [".2.3", "http://10.1.2.3"],
    ["fd00::/8", "http://10.1.2.3"],
  ])("with %s does not", (text, url) => expect(isDirect(text, url)).toBe(false))

  it("is read in lower case first", () => {
    const env = { ALL_PROXY: "p:1", NO_PROXY: "*", no_proxy: "other.test" }
    expect(proxyFor(env, "https://s3.example.test")).toEqual(["ALL_PROXY p:1"])
  })
})

test.each<[number, Readonly<Record<string, string>>, boolean]>([
  [407, { "x-amz-request-id": "1" }, true],
  [403, { "content-type": "text/html" }, true],
  [502, {}, true],
  [403, { "x-amz-request-id": "1" }, false],
  [403, { "x-ms-request-id": "1" }, false],
  [403, { "content-type": "application/xml" }, false],
  [200, {}, false],
  [304, {}, false],
])("an answer %i with %j is the proxy's own: %s", (status, headers, expected) => {
  expect(isOfProxy(status, headers)).toBe(expected)
})

test.each([
  [407, "ERR_STORE_DENIED", "user and password"],
  [403, "ERR_STORE_DENIED", "its operator must allow the host"],
  [404, "ERR_STORE_DENIED", "its operator must allow the host"],
  [408, "ERR_STORE_UNAVAILABLE", "check the proxy's own network"],
  [425, "ERR_STORE_UNAVAILABLE", "check the proxy's own network"],
  [429, "ERR_STORE_UNAVAILABLE", "check the proxy's own network"],
  [302, "ERR_STORE_UNAVAILABLE", "check the proxy's own network"],
  [503, "ERR_STORE_UNAVAILABLE", "check the proxy's own network"],
])("a proxy's refusal with %i is %s", (status, code, words) => {
  const proxy = readProxies({ HTTP_PROXY: "http://ops:canary@a:1" })(PLAIN)!
  const refusal = proxyRefusal(proxy, PLAIN, status)
  expect(refusal).toMatchObject({ code, message: expect.stringContaining(words) })
  for (const part of ["a:1 (HTTP_PROXY)", "s3.example.test:9000"]) expect(refusal.message).toContain(part)
  expect(refusal.message).not.toContain("canary")
})

describe("a tunnel", () => {
  /** A proxy that takes connections and never answers. */
  async function startSilent() {
    const peers: Promise<unknown>[] = []
    const asked = Promise.withResolvers<void>()
    const server = createServer((peer) => {
      asked.resolve()
      peer.resume().on("error", () => {})
      peers.push(once(peer, "close"))
    })
    await once(server.listen(0, "127.0.0.1"), "listening")
    const proxy = readProxies({ HTTPS_PROXY: `127.0.0.1:${(server.address() as AddressInfo).port}` })(SECURE)!
    const open = (signal: AbortSignal) => openTunnel(proxy, SECURE, 60_000, signal)
    return { peers, asked: asked.promise, open, [Symbol.asyncDispose]: async () => void server.close() }
  }
  const reason = new Error("enough")
  afterEach(() => void vi.useRealTimers())

  it("is not asked for after an abort", async () => {
    await using proxy = await startSilent()
    await expect(proxy.open(AbortSignal.abort(reason))).rejects.toBe(reason)
    expect(proxy.peers).toEqual([])
  })

  it.each(["an abort", "its limit"])(
    "that the proxy does not open is given up after %s, and its connection with it",
    async (what) => {
      await using proxy = await startSilent()
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
      const abort = new AbortController()
      const opening = proxy.open(abort.signal).catch((error: Error) => error.message)
      await proxy.asked
      if (what === "an abort") abort.abort(reason)
      else await vi.advanceTimersByTimeAsync(60_000)
      expect(await Promise.race([opening, rest(10_000)])).toMatch(
        what === "an abort" ? /^enough$/ : /did not open a tunnel within 60000 ms$/,
      )
      await proxy.peers[0]
    },
  )
})
