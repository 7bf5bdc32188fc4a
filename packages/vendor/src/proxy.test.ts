import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach, beforeEach, expect, test } from "vitest"
import { createVendorClient } from "./client.ts"
import { useProxies } from "./proxy.ts"

const signal = AbortSignal.timeout(30_000)
const ARCHIVE = "b40ef09b-3811-4726-b508-e41a0f96c68f"

/** The requests that the proxy received, and its own answer if it replaces the vendor's. */
let asked: string[]
let status: number
let at: string
let undo: (() => void) | undefined
/** Stands for both proxy and vendor. The vendor has no archive; without a user, the proxy answers 407. */
const server = createServer((request, response) => {
  asked.push(request.url!)
  const isVendor = request.url!.startsWith("/")
  const user = `Basic ${Buffer.from("ops:x y").toString("base64")}`
  const isKnown = isVendor || request.headers["proxy-authorization"] === user
  response.writeHead(isKnown ? status : 407).end()
})
server.on("connect", (request, socket) => {
  asked.push(`CONNECT ${request.url}`)
  socket.end(`HTTP/1.1 ${status} No\r\n\r\n`)
})
beforeEach(async () => {
  ;[asked, status] = [[], 404]
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  at = `127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterEach(async () => {
  undo?.()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

const ask = (baseUrl: string) =>
  createVendorClient({
    ...{ platform: "opentok", projectId: "123456", baseUrl, attempts: 1 },
    credentials: { scheme: "opentok", apiSecret: "canary-api-secret" },
  }).getArchive(ARCHIVE, signal)

test("requests to the vendor go through the proxy of the environment", async () => {
  undo = useProxies({ HTTP_PROXY: `http://ops:x%20y@${at}` })
  expect(await ask("http://api.example.invalid")).toBeNull()
  expect(asked).toEqual([expect.stringMatching(/^http:\/\/api\.example\.invalid\/.*b40ef09b/)])
})

test("requests to a host of NO_PROXY, or to one below it, go direct", async () => {
  undo = useProxies({ http_proxy: at, HTTPS_PROXY: at, NO_PROXY: "example.invalid 127.0.0.1" })
  expect(await ask(`http://${at}`)).toBeNull()
  await expect(ask("http://api.example.invalid")).rejects.toThrow(/ENOTFOUND|EAI_AGAIN/)
  expect(asked.every((url) => url.startsWith("/"))).toBe(true)
})

test("requests to clouds' metadata services never go through a proxy", async () => {
  undo = useProxies({ http_proxy: at })
  await fetch("http://169.254.169.254/", { signal: AbortSignal.timeout(300) }).catch(() => {})
  expect(asked).toEqual([])
})

test("an error names the proxy that refused, and what to do about it", async () => {
  undo = useProxies({ ALL_PROXY: at })
  await expect(ask("http://api.example.invalid")).rejects.toThrow(
    /the proxy \(HTTPS_PROXY\) answered 407: put a user and password that it takes into HTTPS_PROXY/,
  )
  status = 403
  await expect(ask("https://api.example.invalid")).rejects.toMatchObject({
    code: "ERR_STORE_UNAVAILABLE",
    message: expect.stringMatching(
      /the proxy \(HTTPS_PROXY\) answered 403: its operator must allow the host/,
    ),
  })
  expect(asked.at(-1)).toBe("CONNECT api.example.invalid:443")
  undo()
  // Nothing listens there.
  undo = useProxies({ HTTP_PROXY: "127.0.0.1:1", ALL_PROXY: at })
  await expect(ask("https://api.example.invalid")).rejects.toThrow(/answered 403/)
})

test("a request that fails says so if this Node can't use the proxy", async () => {
  undo = useProxies({ HTTPS_PROXY: at }, {})
  await expect(ask("http://api.example.invalid")).rejects.toThrow(
    `requests to the vendor ignore HTTPS_PROXY with Node ${process.version}: take Node 24.14 or newer`,
  )
  expect(await ask(`http://${at}`)).toBeNull()
  undo()
  await expect(ask("http://api.example.invalid")).rejects.not.toThrow("ignore HTTPS_PROXY")
  // Without a proxy, nothing is missing.
  undo = useProxies({}, {})
  await expect(ask("http://api.example.invalid")).rejects.not.toThrow("ignore HTTPS_PROXY")
})
