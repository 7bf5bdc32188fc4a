import { createHash } from "node:crypto"
import { crc32 } from "node:zlib"
import { describe, expect, it } from "vitest"
import { type PlainRequest, presigned, send, signed } from "./signed-request.ts"
import { put, server, verdict } from "./signed-requests.ts"

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
