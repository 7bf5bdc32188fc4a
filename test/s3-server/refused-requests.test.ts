import { once } from "node:events"
import { Agent, request as httpRequest, type IncomingMessage } from "node:http"
import { connect } from "node:net"
import { ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3"
import { describe, expect, it } from "vitest"
import { startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import { CREDENTIALS, presigned, type SendableRequest, send, signed } from "./signed-request.ts"
import { put, server, verdict } from "./signed-requests.ts"

describe("the server", () => {
  it("serves virtual-host-style requests", async () => {
    await send(server.url, await signed(server.url, put("virtual/key", "here")))
    const url = `http://archives.localhost:${server.port}`
    const get = await signed(url, { method: "GET", path: "/virtual/key" })
    expect((await send(server.url, get)).body.toString()).toBe("here")
    const list = await signed(url, { method: "GET", path: "/", query: { prefix: "virtual/" } })
    expect((await send(server.url, list)).body.toString()).toContain("<Key>virtual/key</Key>")
  })

  it("ignores parameters that S3 ignores and refuses sub-resources and headers it lacks", async () => {
    const get = (query: Record<string, string>, headers = {}) =>
      signed(server.url, { method: "GET", path: "/archives/plain", query, headers }).then(verdict)
    expect(await verdict(await signed(server.url, put("plain", "x")))).toBe("accepted")
    expect(await get({ "x-id": "GetObject", whatever: "1" })).toBe("accepted")
    expect(await get({ acl: "" })).toBe("501 NotImplemented")
    expect(await get({ versionId: "x" })).toBe("501 NotImplemented")
    expect(
      await verdict(
        await signed(
          server.url,
          put("kms", "x", { "x-amz-server-side-encryption-customer-algorithm": "AES256" }),
        ),
      ),
    ).toBe("501 NotImplemented")
    expect(await verdict(await signed(server.url, { method: "POST", path: "/archives/plain" }))).toBe(
      "405 MethodNotAllowed",
    )
    expect(await verdict(await signed(server.url, { method: "GET", path: "/archives/%FF" }))).toBe(
      "400 InvalidURI",
    )
    expect(await verdict(await signed(server.url, put("k".repeat(1025), "x")))).toBe("400 KeyTooLongError")
  })

  it("names the request in its error documents", async () => {
    const { body, headers } = await send(server.url, { method: "GET", target: "/archives/a", headers: {} })
    expect(body.toString()).toContain(`<RequestId>${headers["x-amz-request-id"]}</RequestId>`)
    expect(body.toString()).toContain("<Resource>/archives/a</Resource>")
  })

  it("asks for a body only after it has accepted the head", async () => {
    const expecting = async (request: SendableRequest) => {
      const { method, target: path, headers, body } = request
      const outgoing = httpRequest(`${server.url}${path}`, {
        method,
        headers: { ...headers, expect: "100-continue", "content-length": Buffer.byteLength(body!) },
        agent: false,
      })
      let asked = false
      outgoing.on("continue", () => {
        asked = true
        outgoing.end(body)
      })
      outgoing.flushHeaders()
      const [response] = (await once(outgoing, "response")) as [IncomingMessage]
      await response.toArray()
      outgoing.destroy()
      return { asked, status: response.statusCode }
    }
    expect(await expecting(await signed(server.url, put("expected", "body")))).toEqual({
      asked: true,
      status: 200,
    })
    const forged = await signed(server.url, put("expected", "body"), { secretAccessKey: "wrong" })
    expect(await expecting(forged)).toEqual({ asked: false, status: 403 })
    const taken = await signed(server.url, put("expected", "body", { "if-none-match": "*" }))
    expect(await expecting(taken)).toEqual({ asked: false, status: 412 })
  })

  it("answers a refused upload that is still being sent, and the next request on its connection", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const body = Buffer.alloc(20_000_000)
    const ports: (number | undefined)[] = []
    const statuses: (number | undefined)[] = []
    for (const secretAccessKey of ["wrong", CREDENTIALS.secretAccessKey]) {
      const request = { method: "PUT", path: "/archives/large", body }
      const { method, target: path, headers } = await signed(server.url, request, { secretAccessKey })
      const outgoing = httpRequest(`${server.url}${path}`, { method, agent, headers })
      outgoing.end(body)
      const [response] = (await once(outgoing, "response")) as [IncomingMessage]
      ports.push(response.socket.localPort)
      await response.toArray()
      statuses.push(response.statusCode)
    }
    agent.destroy()
    expect(statuses).toEqual([403, 200])
    expect(ports[0]).toBe(ports[1])
  })

  it("refuses checksums that it does not verify, and two at once", async () => {
    const xxhash = await signed(server.url, put("sum", "x", { "x-amz-checksum-xxhash64": "AAAAAAAAAAA=" }))
    expect(await verdict(xxhash)).toBe("501 NotImplemented")
    const two = { "x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-crc32c": "AAAAAA==" }
    expect(await verdict(await signed(server.url, put("sum", "x", two)))).toBe("400 InvalidRequest")
    const promised = await signed(server.url, put("sum", "x", { "x-amz-sdk-checksum-algorithm": "CRC32" }))
    expect(await verdict(promised)).toBe("400 InvalidRequest")
  })

  it("refuses a session token beside a credential that has none", async () => {
    const request = await signed(server.url, put("token", "x", { "x-amz-security-token": "token" }))
    expect(await verdict(request)).toBe("400 InvalidToken")
  })

  it("accepts a session's credential only with its token", async () => {
    const session = { accessKeyId: "ASIASESSION", secretAccessKey: "for-an-hour", sessionToken: "token" }
    const server = await startS3Server({ credentials: [session], buckets: ["bucket"] })
    const ask = async (credentials: {
      accessKeyId: string
      secretAccessKey: string
      sessionToken?: string
    }) => {
      const client = new S3Client({
        endpoint: server.url,
        region: "us-east-1",
        forcePathStyle: true,
        credentials,
      })
      const answered = client.send(new ListObjectsV2Command({ Bucket: "bucket" }))
      return answered
        .then(
          () => "taken",
          (error: Error) => error.name,
        )
        .finally(() => client.destroy())
    }
    const { sessionToken, ...without } = session
    expect(await ask(session)).toBe("taken")
    expect(await ask(without)).toBe("InvalidToken")
    expect(await ask({ ...without, sessionToken: `${sessionToken}s` })).toBe("InvalidToken")
    await server.close()
  })

  it("refuses bodies of unknown length", async () => {
    const { headers, target } = await signed(server.url, put("chunks", "abc"))
    const chunked = await send(server.url, {
      method: "PUT",
      target,
      headers: { ...headers, "transfer-encoding": "chunked" },
      body: "abc",
    })
    expect(chunked.code).toBe("NotImplemented")
  })

  it("keeps nothing of an upload whose client disconnects", async () => {
    const { headers, target } = await signed(server.url, {
      ...put("cut", "x"),
      headers: { "x-amz-content-sha256": "UNSIGNED-PAYLOAD" },
    })
    const ended = new Promise<string>((resolve) => {
      const unsubscribe = server.operations.subscribe((operation) => {
        if (operation.key !== "cut") return
        unsubscribe()
        resolve(`${operation.status} ${operation.broken}`)
      })
    })
    const socket = connect(server.port, "127.0.0.1")
    const lines = Object.entries({ ...headers, "content-length": "1000" }).map(([n, v]) => `${n}: ${v}`)
    socket.write(`PUT ${target} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n12345`)
    await once(socket, "connect")
    setTimeout(() => socket.destroy(), 100)
    expect(await ended).toBe("0 true")
    const head = await signed(server.url, { method: "HEAD", path: "/archives/cut" })
    expect((await send(server.url, head)).status).toBe(404)
  })

  it("logs no secret, no signature and no query string", async () => {
    await send(server.url, await presigned(server.url, { method: "GET", path: "/archives/plain" }))
    const text = JSON.stringify(server.operations.entries())
    expect(text).not.toContain("X-Amz-")
    expect(text).not.toContain(CREDENTIALS.secretAccessKey)
    expect(text).not.toContain(CREDENTIALS.accessKeyId)
  })
})
