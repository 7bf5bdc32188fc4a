import { once } from "node:events"
import { readFileSync } from "node:fs"
import { type AddressInfo, createServer, type Server, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { withDrips } from "../../../../../test/harness/network/drip.ts"
import { Connection, type ConnectionLimits } from "./connection.ts"

describe("a connection", () => {
  let server: Server
  let behave: (socket: Socket, request: string) => void
  let peers: Socket[]
  let usable: number
  let closed: number
  beforeEach(async () => {
    peers = []
    usable = 0
    closed = 0
    server = createServer((socket) => {
      peers.push(socket)
      let request = ""
      socket.on("error", () => {})
      socket.on("data", (data) => {
        request += data.toString("latin1")
        const end = request.indexOf("\r\n\r\n")
        const length = Number(/content-length: (\d+)/i.exec(request)?.[1] ?? 0)
        if (end < 0 || request.length < end + 4 + length) return
        const whole = request
        request = ""
        behave(socket, whole)
      })
    })
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
  })
  afterEach(() => {
    for (const peer of peers) peer.destroy()
    server.close()
  })
  const open = (limits: ConnectionLimits = { connectTimeoutMs: 2_000, idleTimeoutMs: 2_000 }) =>
    new Connection(
      { secure: false, host: "127.0.0.1", port: (server.address() as AddressInfo).port },
      limits,
      { usable: () => usable++, closed: () => closed++ },
    )
  const get = { method: "GET", target: "/b/k?x=1", headers: { host: "h" }, body: [] }
  const drain = async (body: AsyncIterable<Uint8Array>) => {
    const pieces: Uint8Array[] = []
    for await (const piece of body) pieces.push(Uint8Array.from(piece))
    return Buffer.concat(pieces)
  }

  it("serves one exchange after the other, and sends head and body unchanged", async () => {
    const seen: string[] = []
    behave = (socket, request) => {
      seen.push(request)
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    }
    const connection = open()
    const put = {
      method: "PUT",
      target: "/b/k",
      headers: { host: "h", "content-length": "6" },
      body: [Buffer.from("abc"), Buffer.from("def")],
    }
    for (const request of [get, put, get]) {
      const { status, body } = await connection.exchange(request)
      expect([status, (await drain(body)).toString()]).toEqual([200, "ok"])
    }
    expect(seen).toEqual([
      "GET /b/k?x=1 HTTP/1.1\r\nhost: h\r\n\r\n",
      "PUT /b/k HTTP/1.1\r\nhost: h\r\ncontent-length: 6\r\n\r\nabcdef",
      "GET /b/k?x=1 HTTP/1.1\r\nhost: h\r\n\r\n",
    ])
    expect([peers.length, usable]).toEqual([1, 3])
    connection.close()
  })

  it("leaves a piece untouched until the next is requested, while the store keeps sending", async () => {
    const sent = Buffer.alloc(8 * 1024 * 1024)
    for (let at = 0; at < sent.length; at += 4) sent.writeUInt32BE(at, at)
    behave = (socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${sent.length}\r\n\r\n`)
      socket.write(sent)
    }
    const connection = open()
    const { body } = await connection.exchange(get)
    let at = 0
    for await (const piece of body) {
      if (at < 2 * 1024 * 1024) await sleep(20)
      expect(sent.compare(piece, 0, piece.length, at, at + piece.length)).toBe(0)
      at += piece.length
    }
    expect(at).toBe(sent.length)
    connection.close()
  })

  it("that closes before the answer is complete rejects, after passing on what came", async () => {
    behave = (socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
    const { body } = await open().exchange(get)
    expect(Buffer.from((await body.next()).value).toString()).toBe("hello")
    await expect(body.next()).rejects.toMatchObject({
      name: "ConnectionError",
      message: /closed before the answer was whole/,
    })
    behave = (socket) => socket.destroy()
    await expect(open().exchange(get)).rejects.toMatchObject({ name: "ConnectionError" })
  })

  it("on which nothing moves is given up, but not while the consumer is busy", async () => {
    behave = () => {}
    const limits = { connectTimeoutMs: 2_000, idleTimeoutMs: 600 }
    await expect(open(limits).exchange(get)).rejects.toMatchObject({ message: "nothing moved for 0.6 s" })
    behave = (socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
      setTimeout(() => socket.write("lo"), 1_000)
    }
    const { body } = await open(limits).exchange(get)
    await body.next()
    await sleep(1_500)
    expect(Buffer.from((await body.next()).value).toString()).toBe("lo")
  })

  it.each(["its head", "a piece"])(
    "whose consumer was busy with %s for longer than the limit is given up when nothing comes after",
    async (what) => {
      behave = (socket) =>
        void socket.write(
          `HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n${what === "a piece" ? "hello" : ""}h`,
        )
      const { body } = await open({ connectTimeoutMs: 2_000, idleTimeoutMs: 600 }).exchange(get)
      if (what === "a piece") await body.next()
      await sleep(1_200)
      if (what === "its head") await body.next()
      await expect(body.next()).rejects.toMatchObject({ message: "nothing moved for 0.6 s" })
      expect(closed).toBe(1)
    },
    10_000,
  )

  it.each<[string, (socket: Socket) => void]>([
    ["a body byte by byte", (socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")],
    ["a head byte by byte", (socket) => socket.write("HTTP/1.1 200 OK\r\nA: ")],
    [
      "trailers byte by byte",
      (socket) => socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: "),
    ],
  ])("to a store that drips %s is given up within one window, unless it may pause", async (_, begin) => {
    let drips = 0
    behave = (socket) => {
      begin(socket)
      const drip = setInterval(() => {
        drips++
        socket.write("x")
      }, 20)
      socket.on("close", () => clearInterval(drip))
    }
    for (const [request, windows] of [
      [get, 1],
      [{ ...get, method: "PUT", body: [Buffer.from("hello")] }, 1],
      [{ ...get, method: "POST", mayPause: true }, 10],
    ] as const)
      await withDrips(async (idleTimeoutMs) => {
        drips = 0
        const connection = open({ connectTimeoutMs: 20_000, idleTimeoutMs })
        const answer = connection.exchange(request).then(({ body }) => drain(body))
        await expect(answer).rejects.toMatchObject({ message: "less than 4096 bytes a second moved" })
        // Each drip takes at least its 20 ms, however slow the machine is.
        expect(drips).toBeLessThan(windows * (idleTimeoutMs / 20) + 10)
      })
  })

  it("to a store that takes a body too slowly is given up, even if it never stops", async () => {
    server.once("connection", (socket) => {
      socket.removeAllListeners("data").on("data", () => {
        socket.pause()
        setImmediate(() => socket.resume())
      })
    })
    behave = () => {}
    // The floor and the body are larger than any machine manages. With the real values this would last for minutes.
    const limits = { connectTimeoutMs: 2_000, idleTimeoutMs: 700, floorBytesPerSecond: 1_000_000_000_000 }
    const put = { ...get, method: "PUT", body: Array<Buffer>(2_000).fill(Buffer.alloc(64 * 1024 * 1024)) }
    const sent = open(limits).exchange(put)
    await expect(sent).rejects.toMatchObject({ message: "less than 1000000000000 bytes a second moved" })
  }, 120_000)

  it("makes the system check whether the store is still there", async () => {
    behave = (socket) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    const connection = open()
    await connection.exchange(get)
    const { remotePort } = peers[0]!
    const port = remotePort!.toString(16).toUpperCase().padStart(4, "0")
    const line = readFileSync("/proc/net/tcp", "utf8")
      .split("\n")
      .find((one) => one.includes(`: 0100007F:${port} `))
    // Timer 2 of the kernel is for keepalives.
    expect(line).toMatch(/ 02:[0-9A-F]{8} /)
    connection.close()
  })

  it("is aborted with the signal's reason, before and in the middle of an answer", async () => {
    const reason = new Error("enough")
    behave = (socket) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
    const early = new AbortController()
    early.abort(reason)
    await expect(open().exchange(get, early.signal)).rejects.toBe(reason)
    const late = new AbortController()
    const { body } = await open().exchange(get, late.signal)
    await body.next()
    const waiting = body.next()
    late.abort(reason)
    await expect(waiting).rejects.toBe(reason)
  })

  it("is closed instead of reused if its answer is not read to the end", async () => {
    behave = (socket) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
    const connection = open()
    const { body } = await connection.exchange(get)
    await body.return?.()
    expect([connection.usable, usable]).toEqual([false, 0])
    await Promise.all(peers.map((peer) => peer.destroyed || once(peer, "close")))
  })

  it("is not reused after Connection: close, unexpected bytes, or an answer to half a request", async () => {
    behave = (socket) =>
      void socket.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    const closing = open()
    await closing.exchange(get)
    expect(closing.usable).toBe(false)
    behave = (socket) =>
      void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
    const chatty = open()
    expect((await chatty.exchange(get)).status).toBe(200)
    expect(chatty.usable).toBe(false)
    behave = (socket) => void socket.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    const body = [Buffer.alloc(64 * 1024 * 1024)]
    const early = open()
    server.once("connection", (socket) => socket.pause())
    const refused = early.exchange({ ...get, method: "PUT", body })
    const [peer] = (await once(server, "connection")) as [Socket]
    peer.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    expect((await refused).status).toBe(403)
    expect([early.usable, usable]).toEqual([false, 0])
  })

  it("refuses a line break in the head, which would start another request", async () => {
    behave = (socket) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await expect(open().exchange({ ...get, headers: { a: "b\r\nc: d" } })).rejects.toMatchObject({
      message: "the request has a line break in its head",
    })
  })

  it("that fails says why", async () => {
    const nowhere = new Connection(
      { secure: false, host: "127.0.0.1", port: 1 },
      { connectTimeoutMs: 500, idleTimeoutMs: 500 },
      { usable() {}, closed() {} },
    )
    await expect(nowhere.exchange(get)).rejects.toMatchObject({ code: "ECONNREFUSED" })
  })
})
