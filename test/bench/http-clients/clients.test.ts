import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { buffer } from "node:stream/consumers"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { HttpClient, OpenHttpClient } from "./client.ts"
import { open as node } from "./node.ts"
import { open as own } from "./own.ts"
import { openSliced, open as undici } from "./undici.ts"

const OBJECT = Buffer.from(Array.from({ length: 3 * 2 ** 20 }, (_, at) => at % 251))
const received: { body: Buffer; length: string | undefined }[] = []

/** `/404` gets that status, `/short` a byte too few, `/long` a byte too many, and `/broken` a closed connection. */
const server = createServer(async (request, response) => {
  const { method, url = "", headers } = request
  if (url === "/broken") return request.socket.destroy()
  const body = await buffer(request)
  if (method === "PUT") received.push({ body, length: headers["content-length"] })
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "") ?? []
  const [start, end] = [Number(first), Number(last) + 1]
  response.statusCode = Number(/^\/(\d{3})$/.exec(url)?.[1] ?? (method === "GET" ? 206 : 200))
  const extra = { "/short": -1, "/long": 1 }[url] ?? 0
  response.end(method === "GET" ? OBJECT.subarray(start, end + extra) : undefined)
})

beforeAll(() => once(server.listen(0, "127.0.0.1"), "listening"))
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

async function withClient(open: OpenHttpClient, use: (client: HttpClient) => Promise<void>): Promise<void> {
  const { port } = server.address() as AddressInfo
  const client = open({ origin: new URL(`http://127.0.0.1:${port}`), ca: undefined, connections: 2 })
  try {
    await use(client)
  } finally {
    await client.close()
  }
}

const CLIENTS = { own, undici, "undici, in slices": openSliced, node }

describe.each(Object.entries(CLIENTS))("%s", (_name, open) => {
  it("reads the bytes that it is asked for into their place, several at once", () =>
    withClient(open, async (client) => {
      const into = Buffer.alloc(OBJECT.length)
      const starts = [0, 1_000_000, 2_000_000]
      const ends = [1_000_000, 2_000_000, OBJECT.length]
      await Promise.all(
        starts.map((start, index) => client.get("/object", start, into.subarray(start, ends[index]))),
      )
      expect(into.equals(OBJECT)).toBe(true)
    }))

  it("writes a body with its length, and another over the same connection", () =>
    withClient(open, async (client) => {
      received.length = 0
      await client.put("/object", OBJECT)
      await client.put("/object", OBJECT.subarray(0, 1000))
      expect(received.map(({ length }) => length)).toEqual([String(OBJECT.length), "1000"])
      expect(received[0]!.body.equals(OBJECT)).toBe(true)
      expect(received[1]!.body.equals(OBJECT.subarray(0, 1000))).toBe(true)
    }))

  it.each([
    ["/404", "GET was answered 404 instead of 206"],
    ["/200", "GET was answered 200 instead of 206"],
    ["/short", "GET gave 999 bytes instead of 1000"],
    ["/long", "GET gave 1001 bytes instead of 1000"],
  ])("rejects the answer to a GET of %s", (target, message) =>
    withClient(open, async (client) => {
      await expect(client.get(target, 0, Buffer.alloc(1000))).rejects.toThrow(message)
    }),
  )

  it("rejects a PUT that is refused, and what a connection's end cuts short", () =>
    withClient(open, async (client) => {
      await expect(client.put("/503", OBJECT)).rejects.toThrow("PUT was answered 503 instead of 200")
      await expect(client.put("/broken", OBJECT)).rejects.toThrow()
      await expect(client.get("/broken", 0, Buffer.alloc(1000))).rejects.toThrow()
    }))
})
