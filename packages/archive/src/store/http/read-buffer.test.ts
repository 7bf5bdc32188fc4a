import { execFileSync } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer, type Server } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { getCACertificates, setDefaultCACertificates } from "node:tls"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Connection } from "./connection.ts"
import { READ_BUFFER_SIZE, TlsReadBuffer } from "./read-buffer.ts"

describe("the memory that a TLS socket reads into", () => {
  const record = 16 * 1024

  /** Reads a record into the buffer, as a socket does. Returns where it went. */
  function read(buffer: TlsReadBuffer, mark: number): Uint8Array {
    const piece = buffer.next().subarray(0, record)
    expect(piece.length).toBe(record)
    piece.fill(mark)
    buffer.taken(record)
    return piece
  }

  it("keeps every record read since the last release, and the one read before the socket asked again", () => {
    const buffer = new TlsReadBuffer()
    for (let round = 0; round < 50; round++) {
      const held = Array.from({ length: 1 + (round % 9) }, (_, index) => read(buffer, round + index))
      held.forEach((piece, index) => void expect(piece.every((byte) => byte === round + index)).toBe(true))
      buffer.release()
    }
  })

  it("can keep more than it was made for", () => {
    const buffer = new TlsReadBuffer()
    const held = Array.from({ length: (2 * READ_BUFFER_SIZE) / record }, (_, index) => read(buffer, index))
    held.forEach((piece, index) => void expect(piece.every((byte) => byte === index)).toBe(true))
  })
})

describe("a TLS connection", () => {
  const body = randomBytes(1024 * 1024)
  const limits = { connectTimeoutMs: 20_000, idleTimeoutMs: 20_000 }
  const before = getCACertificates("default")
  const directory = mkdtempSync(join(tmpdir(), "unseal-tls-"))
  let server: Server
  let port: number

  beforeAll(async () => {
    const [cert, key] = ["cert.pem", "key.pem"].map((name) => join(directory, name)) as [string, string]
    execFileSync(
      "openssl",
      [
        ...["req", "-new", "-x509", "-days", "2", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test"],
        ...["-addext", "subjectAltName=IP:127.0.0.1", "-out", cert, "-keyout", key],
      ],
      { stdio: "pipe" },
    )
    setDefaultCACertificates([...before, readFileSync(cert, "utf8")])
    server = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (request, response) => {
      const hash = createHash("sha256")
      request
        .on("data", (chunk: Buffer) => hash.update(chunk))
        .on("end", () =>
          response
            .writeHead(200, { "content-length": body.length, "x-received": hash.digest("hex") })
            .end(body),
        )
    }).listen(0, "127.0.0.1")
    await once(server, "listening")
    port = (server.address() as AddressInfo).port
  })
  afterAll(async () => {
    setDefaultCACertificates(before)
    server.closeAllConnections()
    await once(server.close(), "close")
    rmSync(directory, { recursive: true })
  })

  it("leaves a piece alone until the next is requested, even while the socket holds more", async () => {
    const connection = new Connection({ secure: true, host: "127.0.0.1", port }, limits, {
      usable() {},
      closed() {},
    })
    for (const pauseMs of [0, 1]) {
      const request = { method: "GET", target: "/", headers: { host: "test" }, body: [] }
      const response = await connection.exchange(request)
      let at = 0
      for await (const piece of response.body) {
        await sleep(pauseMs)
        expect(Buffer.compare(piece, body.subarray(at, at + piece.length))).toBe(0)
        at += piece.length
      }
      expect(at).toBe(body.length)
    }
    connection.close()
  })

  it("sends bodies whole and in order, from the caller's memory", async () => {
    let usable = 0
    const connection = new Connection({ secure: true, host: "127.0.0.1", port }, limits, {
      usable: () => usable++,
      closed() {},
    })
    for (const pieces of [
      [body],
      [body.subarray(0, 65_536), body.subarray(1), body],
      [body.subarray(0, 1)],
      [],
    ]) {
      const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
      const headers = { host: "test", "content-length": String(length) }
      const response = await connection.exchange({ method: "PUT", target: "/", headers, body: pieces })
      for await (const _ of response.body);
      const sent = createHash("sha256").update(Buffer.concat(pieces)).digest("hex")
      expect(response.headers["x-received"]).toBe(sent)
    }
    expect(usable).toBe(4)
    connection.close()
  })

  it("stops sending a body once it is given up", async () => {
    const connection = new Connection({ secure: true, host: "127.0.0.1", port }, limits, {
      usable() {},
      closed() {},
    })
    const reason = new Error("given up")
    const abort = new AbortController()
    const large = Buffer.alloc(64 * 1024 * 1024)
    const headers = { host: "test", "content-length": String(large.length) }
    const sending = connection.exchange({ method: "PUT", target: "/", headers, body: [large] }, abort.signal)
    await sleep(20)
    abort.abort(reason)
    await expect(sending).rejects.toBe(reason)
    expect(connection.usable).toBe(false)
  })

  it("is refused if no trusted authority vouches for the server", async () => {
    setDefaultCACertificates(before)
    const connection = new Connection({ secure: true, host: "127.0.0.1", port }, limits, {
      usable() {},
      closed() {},
    })
    const request = { method: "PUT", target: "/", headers: { host: "test" }, body: [] }
    await expect(connection.exchange(request)).rejects.toThrow(/self-signed/)
  })
})
