import { once } from "node:events"
import { type AddressInfo, createServer, type Server, type Socket } from "node:net"
import { crc32 } from "node:zlib"
import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { poisoned } from "../../../../../../test/harness/poisoned.ts"
import { openStore } from "../../open.ts"
import { S3Transport } from "./transport.ts"

const signal = new AbortController().signal
let server: Server
let peers: Set<Socket>
let behave: (socket: Socket, request: string) => void
beforeEach(async () => {
  peers = new Set()
  server = createServer((socket) => {
    peers.add(socket)
    socket.on("error", () => {}).on("data", (data) => behave(socket, data.toString("latin1")))
  })
  await once(server.listen(0, "127.0.0.1"), "listening")
})
afterEach(() => {
  for (const peer of peers) peer.destroy()
  server.close()
})
const port = () => (server.address() as AddressInfo).port

/** Sends `piece` again and again, as long as the other side takes it. */
function endless(socket: Socket, piece: Buffer): void {
  const more = () => {
    while (!socket.destroyed && socket.write(piece));
  }
  socket.on("drain", more)
  more()
}

async function openS3() {
  const url = `s3://bucket?endpoint=http://127.0.0.1:${port()}&region=us-east-1&pathStyle=true`
  const credentials = { accessKeyId: "a", secretAccessKey: "s" }
  return poisoned(await openStore(url, { env: {}, credentials }))
}

test("connections that end in reserve leave it at once, whether or not they are needed again", async () => {
  behave = (socket) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
  const transport = new S3Transport({ connectTimeoutMs: 2_000, idleTimeoutMs: 2_000 })
  const origin = { secure: false, host: "127.0.0.1", port: port() }
  const ask = async () => {
    const { body } = await transport.exchange(origin, { method: "GET", target: "/", headers: {}, body: [] })
    await body.next()
  }
  await Promise.all(Array.from({ length: 20 }, ask))
  expect([transport.size, peers.size]).toEqual([20, 20])
  await ask()
  expect(peers.size).toBe(20)
  for (const peer of [...peers].slice(1)) peer.end()
  await vi.waitFor(() => expect(transport.size).toBe(1))
  await ask()
  expect([transport.size, peers.size]).toEqual([1, 20])
  transport.destroy()
  expect(transport.size).toBe(0)
})

test.each(["200 OK", "400 Bad Request"])(
  "an answer that is read whole and does not end is given up: %s",
  async (status) => {
    behave = (socket) => {
      socket.write(`HTTP/1.1 ${status}\r\nContent-Type: application/xml\r\n\r\n<a>`)
      endless(socket, Buffer.alloc(1024 * 1024, " "))
    }
    const store = await openS3()
    const create = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const
    await expect(store.create("k", 100 * 1024 * 1024, create, signal)).rejects.toMatchObject({
      message: expect.stringContaining("the response has more than 16777216 bytes"),
    })
    await store.close()
  },
  20_000,
)

test.each([
  ["200 OK", "ERR_STORE_UNAVAILABLE"],
  ["400 Bad Request", "ERR_STORE_DENIED"],
])(
  "an answer to Complete that does not end is given up, and the object looked for: %s",
  async (status, code) => {
    const xml = "Content-Type: application/xml\r\n"
    behave = (socket, request) => {
      const [line = ""] = request.split("\r\n")
      if (/^(GET|HEAD)/.test(line))
        socket.write(
          `HTTP/1.1 ${line.includes("/k") ? "404 Not Found" : "200 OK"}\r\nContent-Length: 0\r\n\r\n`,
        )
      else if (line.includes("uploads")) {
        const begun = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
        socket.write(`HTTP/1.1 200 OK\r\n${xml}Content-Length: ${begun.length}\r\n\r\n${begun}`)
      } else if (line.startsWith("PUT"))
        socket.write('HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n')
      else if (line.startsWith("POST")) {
        socket.write(`HTTP/1.1 ${status}\r\n${xml}\r\n<a>`)
        endless(socket, Buffer.alloc(1024 * 1024, " "))
      }
    }
    const store = await openS3()
    const create = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const
    const writer = await store.create("k", 100 * 1024 * 1024, create, signal)
    const parts = Array.from({ length: Math.ceil((100 * 1024 * 1024) / writer.partSize) }, (_, index) => {
      const size = Math.min(writer.partSize, 100 * 1024 * 1024 - index * writer.partSize)
      return [index + 1, { size, tag: '"e"' }] as const
    })
    await expect(writer.complete(new Map(parts), signal)).rejects.toMatchObject({
      ...{ code, message: expect.stringContaining("the response has more than 16777216 bytes") },
    })
    await store.close()
  },
)

test("a size that no store can hold is passed on as claimed, so that the archive fails for it", async () => {
  const size = 10 ** 18
  behave = (socket, request) => {
    const range = `Content-Range: bytes 0-15/${size}\r\nContent-Length: 16\r\n`
    socket.write(
      request.startsWith("HEAD")
        ? `HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: ${size}\r\n\r\n`
        : `HTTP/1.1 206 Partial Content\r\nETag: "e"\r\n${range}\r\n${"x".repeat(16)}`,
    )
  }
  const store = await openS3()
  expect(await store.stat("k", signal)).toMatchObject({ size })
  const opened = await store.open("k", 16, signal)
  expect(opened?.object).toMatchObject({ size })
  opened?.close()
  await store.close()
})

test("an endless body after the answer to a PUT costs its connection, not the run", async () => {
  behave = (socket, request) => {
    if (request.startsWith("HEAD")) socket.write("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    if (!request.startsWith("PUT")) return
    socket.write(`HTTP/1.1 200 OK\r\nETag: "e"\r\n\r\n`)
    endless(socket, Buffer.alloc(64 * 1024))
  }
  const store = await openS3()
  const body = Buffer.alloc(16)
  const writer = await store.create(
    "k",
    body.length,
    { contentType: "video/mp2t", metadata: {}, existing: "replace" },
    signal,
  )
  const { tag } = await writer.writePart(1, [body], crc32(body), signal)
  expect(await writer.complete(new Map([[1, { size: body.length, tag }]]), signal)).toMatchObject({
    etag: "e",
  })
  await store.close()
}, 20_000)
