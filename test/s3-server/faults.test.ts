import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { mkdtemp, readdir, rm } from "node:fs/promises"
import { request as httpRequest, type IncomingMessage } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import type { FaultAction } from "../../apps/simulator/src/s3/faults/plan.ts"
import { type S3Server, startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import { CREDENTIALS, type PlainRequest, signed } from "./signed-request.ts"

const BODY = randomBytes(200_000)
let server: S3Server

beforeAll(async () => {
  server = await startS3Server({ credentials: [CREDENTIALS], buckets: ["archives"] })
  await request(put("object"))
})
afterEach(() => {
  server.faults.clear()
  server.operations.clear()
})
afterAll(() => server.close())

const put = (key: string): PlainRequest => ({ method: "PUT", path: `/archives/${key}`, body: BODY })
const get = (headers: Record<string, string> = {}): PlainRequest => ({
  method: "GET",
  path: "/archives/object",
  headers,
})

/** A client's view: how far the answer came, and how it ended. */
async function request(plain: PlainRequest, to = server) {
  const { method, target: path, headers, body } = await signed(to.url, plain)
  const outgoing = httpRequest(`${to.url}${path}`, { method, headers, agent: false })
  outgoing.end(body)
  let response: IncomingMessage
  try {
    ;[response] = (await once(outgoing, "response")) as [IncomingMessage]
  } catch (error) {
    return { error: (error as NodeJS.ErrnoException).code, bytes: Buffer.alloc(0) }
  }
  const chunks: Buffer[] = []
  let error: string | undefined
  try {
    for await (const chunk of response) chunks.push(chunk)
  } catch (caught) {
    error = (caught as NodeJS.ErrnoException).code
  }
  return { status: response.statusCode, headers: response.headers, bytes: Buffer.concat(chunks), error }
}

const fault = (operation: "GetObject" | "PutObject", action: FaultAction) =>
  server.faults.add({ operation, action })
const last = () => server.operations.entries().at(-1)!

describe("a fault", () => {
  it("status answers an error document instead of the operation", async () => {
    fault("PutObject", { status: 503, code: "SlowDown" })
    const refused = await request(put("never"))
    expect(refused.status).toBe(503)
    expect(refused.bytes.toString()).toContain("<Code>SlowDown</Code>")
    expect(last()).toMatchObject({ operation: "PutObject", status: 503, fault: "status,code" })
    fault("GetObject", { status: 403 })
    expect((await request(get())).bytes.toString()).toContain("<Code>AccessDenied</Code>")
    expect((await request({ method: "HEAD", path: "/archives/never" })).status).toBe(404)
  })

  it("delayMs answers later", async () => {
    fault("GetObject", { delayMs: 300 })
    const started = performance.now()
    expect((await request(get())).bytes.equals(BODY)).toBe(true)
    expect(performance.now() - started).toBeGreaterThan(250)
  })

  it("reset ends the connection without an answer or an effect", async () => {
    fault("PutObject", { reset: true })
    expect((await request(put("never"))).error).toMatch(/ECONNRESET|EPIPE/)
    expect(last()).toMatchObject({ status: 0, broken: true, fault: "reset" })
    expect((await request({ method: "HEAD", path: "/archives/never" })).status).toBe(404)
  })

  it("resetAfterBytes cuts the body of the answer", async () => {
    fault("GetObject", { resetAfterBytes: 70_000 })
    const cut = await request(get())
    expect(cut.status).toBe(200)
    expect(cut.headers!["content-length"]).toBe(String(BODY.length))
    expect(cut.bytes.equals(BODY.subarray(0, 70_000))).toBe(true)
    expect(cut.error).toBe("ECONNRESET")
    fault("GetObject", { resetAfterBytes: 0 })
    expect(await request(get())).toMatchObject({ status: 200, error: "ECONNRESET" })
  })

  it("resetAfterBytes cuts the body of an upload and keeps nothing of it", async () => {
    fault("PutObject", { resetAfterBytes: 1000 })
    expect((await request(put("never"))).error).toMatch(/ECONNRESET|EPIPE/)
    expect(last().bytesIn).toBeGreaterThanOrEqual(1000)
    expect((await request({ method: "HEAD", path: "/archives/never" })).status).toBe(404)
  })

  it("shortBody ends the answer early and cleanly, with a fitting length or with none", async () => {
    fault("GetObject", { shortBody: 1000 })
    const fitting = await request(get({ range: "bytes=100-5099" }))
    expect(fitting).toMatchObject({ status: 206, error: undefined })
    expect(fitting.headers).toMatchObject({
      "content-length": "1000",
      "content-range": "bytes 100-5099/200000",
    })
    expect(fitting.bytes.equals(BODY.subarray(100, 1100))).toBe(true)
    fault("GetObject", { shortBody: 1000, framing: "chunked" })
    const chunked = await request(get())
    expect(chunked).toMatchObject({ status: 200, error: undefined })
    expect(chunked.headers!["content-length"]).toBeUndefined()
    expect(chunked.bytes.equals(BODY.subarray(0, 1000))).toBe(true)
    fault("GetObject", { shortBody: 0 })
    expect((await request(get())).bytes.length).toBe(0)
  })

  it("wrongContentRange names another range than it sends", async () => {
    fault("GetObject", { wrongContentRange: true })
    const shifted = await request(get({ range: "bytes=16-31" }))
    expect(shifted.headers!["content-range"]).toBe("bytes 17-32/200000")
    expect(shifted.bytes.equals(BODY.subarray(16, 32))).toBe(true)
  })

  it("ignoreRange answers 200 with the whole object", async () => {
    fault("GetObject", { ignoreRange: true })
    const whole = await request(get({ range: "bytes=16-31" }))
    expect(whole.status).toBe(200)
    expect(whole.headers!["content-range"]).toBeUndefined()
    expect(whole.bytes.equals(BODY)).toBe(true)
  })

  it("ignoreConditions writes although the condition forbids it", async () => {
    const never = { ...put("conditional"), headers: { "if-none-match": "*" } }
    expect((await request(never)).status).toBe(200)
    expect((await request(never)).status).toBe(412)
    fault("PutObject", { ignoreConditions: true })
    expect((await request(never)).status).toBe(200)
  })

  it("errorInOk answers 200 with an error document, and does nothing", async () => {
    fault("PutObject", { errorInOk: true })
    const answer = await request(put("never"))
    expect(answer.status).toBe(200)
    expect(answer.bytes.toString()).toContain("<Error><Code>InternalError</Code>")
    expect((await request({ method: "HEAD", path: "/archives/never" })).status).toBe(404)
  })

  it.each<[FaultAction, object]>([
    [{ applyThenReset: true }, { error: "ECONNRESET" }],
    [{ applyThenStatus: 500 }, { status: 500 }],
    [{ applyThenErrorInOk: true }, { status: 200 }],
  ])("%o does the operation and hides it", async (action, seen) => {
    const key = Object.keys(action)[0]!
    fault("PutObject", action)
    expect(await request(put(key))).toMatchObject(seen)
    expect((await request({ method: "HEAD", path: `/archives/${key}` })).status).toBe(200)
  })

  it("throttleBytesPerSecond slows both directions", async () => {
    for (const [operation, plain] of [
      ["GetObject", get()],
      ["PutObject", put("slow")],
    ] as const) {
      fault(operation, { throttleBytesPerSecond: 400_000 })
      const started = performance.now()
      expect((await request(plain)).status).toBe(200)
      expect(performance.now() - started).toBeGreaterThan(400)
    }
  })

  it("hang never answers, and ends with the client or the server", async () => {
    const directory = await mkdtemp(join(tmpdir(), "unseal-test-"))
    const other = await startS3Server({ credentials: [CREDENTIALS], buckets: ["archives"], directory })
    const hang = other.faults.add({ operation: "*", times: 2, action: { hang: true } })
    const { method, target, headers } = await signed(other.url, get())
    const gone = httpRequest(`${other.url}${target}`, { method, headers, agent: false })
    gone.on("error", () => {})
    gone.end()
    const waiting = request(get(), other)
    while (hang.hits < 2) await sleep(5)
    expect(other.operations.entries().map((entry) => entry.durationMs)).toEqual([undefined, undefined])
    gone.destroy()
    expect(await Promise.race([waiting, sleep(200)])).toBeUndefined()
    await other.close()
    expect((await waiting).error).toBe("ECONNRESET")
    expect(await readdir(directory)).toEqual([])
    await rm(directory, { recursive: true })
  })
})

describe("the SDK", () => {
  it("reads an ambiguous Complete as an error, although the object is there", async () => {
    const client = new S3Client({
      endpoint: server.url,
      region: "us-east-1",
      credentials: CREDENTIALS,
      forcePathStyle: true,
      maxAttempts: 1,
    })
    try {
      for (const [action, seen] of [
        [{ applyThenErrorInOk: true }, "InternalError"],
        [{ applyThenStatus: 500 }, "InternalError"],
        [{ applyThenReset: true }, "ECONNRESET"],
        [{ errorInOk: true }, "InternalError"],
      ] as const) {
        const target = { Bucket: "archives", Key: `complete-${Object.keys(action)[0]}` }
        const { UploadId } = await client.send(
          new CreateMultipartUploadCommand({ ...target, ChecksumAlgorithm: "CRC32" }),
        )
        const part = await client.send(
          new UploadPartCommand({
            ...target,
            UploadId,
            PartNumber: 1,
            Body: BODY,
            ChecksumAlgorithm: "CRC32",
          }),
        )
        server.faults.add({ operation: "CompleteMultipartUpload", action })
        const complete = client.send(
          new CompleteMultipartUploadCommand({
            ...target,
            UploadId,
            MultipartUpload: {
              Parts: [{ PartNumber: 1, ETag: part.ETag, ChecksumCRC32: part.ChecksumCRC32 }],
            },
          }),
        )
        const error = await complete.then(
          () => undefined,
          (caught) => caught.code ?? caught.name,
        )
        expect(error).toBe(seen)
        const head = await request({ method: "HEAD", path: `/archives/${target.Key}` })
        expect(head.status).toBe("errorInOk" in action ? 404 : 200)
      }
      expect(server.openUploads().length).toBe(1)
    } finally {
      client.destroy()
    }
  })
})
