import { createHash } from "node:crypto"
import { once } from "node:events"
import { Agent, request as httpRequest, type IncomingMessage } from "node:http"
import { connect } from "node:net"
import { crc32 } from "node:zlib"
import { ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type S3Server, startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import {
  CREDENTIALS,
  type PlainRequest,
  presigned,
  type SendableRequest,
  send,
  signed,
} from "./signed-request.ts"

let server: S3Server
beforeAll(async () => {
  server = await startS3Server({ credentials: [CREDENTIALS], buckets: ["archives"] })
})
afterAll(() => server.close())

const put = (key: string, body: string, headers: Record<string, string> = {}): PlainRequest => ({
  method: "PUT",
  path: `/archives/${key}`,
  headers,
  body,
})
const verdict = async (request: SendableRequest): Promise<string> => {
  const { status, code } = await send(server.url, request)
  return status < 300 ? "accepted" : `${status} ${code}`
}
const sha256 = (text: string | Buffer): string => createHash("sha256").update(text).digest("hex")

describe("a request signed by the SDK's signer", () => {
  it.each([
    "/archives/plain",
    "/archives/with%20space%20and%20%C3%BCml%C3%A4ut",
    "/archives/a//b/../c/./d",
    "/archives/%2B%26%3D%3F%23%25",
    "/archives/%21%27%28%29%2A~-_.",
    "/archives/%F0%9F%98%80",
  ])("stores and gives back %s", async (path) => {
    expect(await verdict(await signed(server.url, { method: "PUT", path, body: path }))).toBe("accepted")
    const got = await send(server.url, await signed(server.url, { method: "GET", path }))
    expect(got.body.toString()).toBe(path)
    expect(server.operations.entries().at(-1)!.key).toBe(decodeURIComponent(path.slice("/archives/".length)))
  })

  it.each(["a b", "a+b", "a%2Bb", "ü&=?", "~*!'()"])("may carry the query value %s", async (prefix) => {
    const query = { "list-type": "2", prefix, delimiter: "", "start-after": "" }
    const request = await signed(server.url, { method: "GET", path: "/archives", query })
    expect(await verdict(request)).toBe("accepted")
  })

  it("is refused if anything signed is altered", async () => {
    const request = await signed(
      server.url,
      put("altered", "body", { "x-amz-meta-kind": "a", "content-type": "text/x" }),
    )
    expect(await verdict({ ...request, target: "/archives/other" })).toBe("403 SignatureDoesNotMatch")
    expect(await verdict({ ...request, target: `${request.target}?x=y` })).toBe("403 SignatureDoesNotMatch")
    expect(await verdict({ ...request, method: "POST" })).toBe("403 SignatureDoesNotMatch")
    for (const [name, value] of [
      ["x-amz-meta-kind", "b"],
      ["content-type", "text/y"],
      ["host", "127.0.0.1:1"],
      ["x-amz-content-sha256", sha256("other")],
    ])
      expect(await verdict({ ...request, headers: { ...request.headers, [name!]: value! } })).toBe(
        "403 SignatureDoesNotMatch",
      )
    const added = { ...request, headers: { ...request.headers, "x-amz-meta-more": "c" } }
    expect(await verdict(added)).toBe("403 AccessDenied")
    expect(await verdict(request)).toBe("accepted")
  })

  it("is refused with another body than the signed one, and stores nothing", async () => {
    const request = await signed(server.url, put("body", "body"))
    expect(await verdict({ ...request, body: "ydob" })).toBe("400 XAmzContentSHA256Mismatch")
    const head = await signed(server.url, { method: "HEAD", path: "/archives/body" })
    expect((await send(server.url, head)).status).toBe(404)
  })

  it("is refused with a wrong secret, an unknown key, another region and no signature", async () => {
    const list: PlainRequest = { method: "GET", path: "/archives" }
    expect(await verdict(await signed(server.url, list, { secretAccessKey: "wrong" }))).toBe(
      "403 SignatureDoesNotMatch",
    )
    expect(await verdict(await signed(server.url, list, { accessKeyId: "NOBODY" }))).toBe(
      "403 InvalidAccessKeyId",
    )
    expect(await verdict(await signed(server.url, list, { region: "eu-west-1" }))).toBe(
      "400 AuthorizationHeaderMalformed",
    )
    expect(await verdict({ method: "GET", target: "/archives", headers: {} })).toBe("403 AccessDenied")
  })

  it("is refused when its date is 16 minutes off, and accepted at 14", async () => {
    const minutes = (count: number) => new Date(Date.now() + count * 60_000)
    const list: PlainRequest = { method: "GET", path: "/archives" }
    for (const offset of [-16, 16])
      expect(await verdict(await signed(server.url, list, { signingDate: minutes(offset) }))).toBe(
        "403 RequestTimeTooSkewed",
      )
    for (const offset of [-14, 14])
      expect(await verdict(await signed(server.url, list, { signingDate: minutes(offset) }))).toBe("accepted")
  })
})

describe("a presigned request", () => {
  it("uploads and downloads without an Authorization header", async () => {
    expect(await verdict(await presigned(server.url, put("presigned", "by link")))).toBe("accepted")
    const get = await presigned(server.url, { method: "GET", path: "/archives/presigned" })
    expect((await send(server.url, get)).body.toString()).toBe("by link")
    const ranged = await send(server.url, { ...get, headers: { ...get.headers, range: "bytes=3-" } })
    expect([ranged.status, ranged.body.toString()]).toEqual([206, "link"])
  })

  it("is refused for another key, altered, expired, or with a wrong secret", async () => {
    const get: PlainRequest = { method: "GET", path: "/archives/presigned" }
    const request = await presigned(server.url, get)
    expect(await verdict({ ...request, target: request.target.replace("presigned?", "plain?") })).toBe(
      "403 SignatureDoesNotMatch",
    )
    expect(await verdict({ ...request, target: request.target.replace("Expires=60", "Expires=600") })).toBe(
      "403 SignatureDoesNotMatch",
    )
    const old = new Date(Date.now() - 61_000)
    expect(await verdict(await presigned(server.url, get, { signingDate: old }))).toBe("403 AccessDenied")
    expect(await verdict(await presigned(server.url, get, { secretAccessKey: "x" }))).toBe(
      "403 SignatureDoesNotMatch",
    )
  })
})

describe("an aws-chunked body with a trailer", () => {
  const data = Buffer.alloc(20_000, "chunk")
  const checksum = Buffer.alloc(4)
  checksum.writeUInt32BE(crc32(data))
  const chunked = (trailer: string, length = data.length) =>
    signed(server.url, {
      method: "PUT",
      path: "/archives/chunked",
      headers: {
        "content-encoding": "aws-chunked",
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-decoded-content-length": String(length),
        "x-amz-trailer": "x-amz-checksum-crc32",
      },
      body: Buffer.concat([Buffer.from("4e20\r\n"), data, Buffer.from(`\r\n0\r\n${trailer}\r\n\r\n`)]),
    })

  it("is stored decoded, under its checksum", async () => {
    const right = `x-amz-checksum-crc32:${checksum.toString("base64")}`
    expect(await verdict(await chunked(right))).toBe("accepted")
    const get = await signed(server.url, {
      method: "GET",
      path: "/archives/chunked",
      headers: { "x-amz-checksum-mode": "ENABLED" },
    })
    const { body, headers } = await send(server.url, get)
    expect(body).toEqual(data)
    expect(headers["x-amz-checksum-crc32"]).toBe(checksum.toString("base64"))
    expect(headers["content-encoding"]).toBeUndefined()
  })

  it("is refused with a wrong checksum, a wrong length, or without its trailer", async () => {
    expect(await verdict(await chunked("x-amz-checksum-crc32:AAAAAA=="))).toBe("400 BadDigest")
    const right = `x-amz-checksum-crc32:${checksum.toString("base64")}`
    expect(await verdict(await chunked(right, data.length + 1))).toBe("400 IncompleteBody")
    expect(await verdict(await chunked(right, data.length - 1))).toBe("400 IncompleteBody")
    expect(await verdict(await chunked("x-amz-meta-other:1"))).toBe("400 MalformedTrailerError")
  })
})

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
