import { randomBytes } from "node:crypto"
import {
  HeadObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from "@aws-sdk/client-s3"
import { describe, expect, it } from "vitest"
import { startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import {
  Bucket,
  begin,
  client,
  connect,
  FIRST,
  failure,
  LAST,
  MIN,
  md5,
  read,
  server,
} from "./multipart-server.ts"
import { CREDENTIALS } from "./signed-request.ts"

const SECOND = randomBytes(MIN + 16)

describe("a multipart upload", () => {
  it("makes an object of its parts, in any order of arrival, visible only when completed", async () => {
    const upload = await begin("whole", { ContentType: "video/mp2t", Metadata: { kind: "a" } })
    const third = await upload.part(7, LAST)
    const [first, second] = await Promise.all([upload.part(1, FIRST), upload.part(2, SECOND)])
    expect(first.ETag).toBe(`"${md5(FIRST).toString("hex")}"`)
    expect(await failure(read("whole"))).toBe("NoSuchKey 404")
    const { ETag } = await upload.complete([first, second, third])
    expect(ETag).toBe(`"${md5(md5(FIRST), md5(SECOND), md5(LAST)).toString("hex")}-3"`)
    const all = Buffer.concat([FIRST, SECOND, LAST])
    expect((await read("whole")).equals(all)).toBe(true)
    const across = await read("whole", `bytes=${MIN - 3}-${2 * MIN + 20}`)
    expect(across.equals(all.subarray(MIN - 3, 2 * MIN + 21))).toBe(true)
    const head = await client.send(new HeadObjectCommand({ Bucket, Key: "whole" }))
    expect(head).toMatchObject({
      ETag,
      ContentLength: all.length,
      ContentType: "video/mp2t",
      Metadata: { kind: "a" },
    })
    expect(server.openUploads()).toEqual([])
  })

  it("keeps the last of several bodies for one part, and may leave parts out", async () => {
    const upload = await begin("replaced")
    await upload.part(1, randomBytes(100))
    const first = await upload.part(1, FIRST)
    await upload.part(2, SECOND)
    const third = await upload.part(3, LAST)
    await upload.complete([first, third])
    expect((await read("replaced")).equals(Buffer.concat([FIRST, LAST]))).toBe(true)
  })

  it("is completed only with parts that it has, in order, and large enough", async () => {
    const upload = await begin("refused")
    const small = await upload.part(1, LAST)
    const large = await upload.part(2, FIRST)
    const absent = { PartNumber: 3, ETag: small.ETag }
    expect(await failure(upload.complete([large, absent]))).toBe("InvalidPart 400")
    expect(await failure(upload.complete([{ ...small, ETag: large.ETag }, large]))).toBe("InvalidPart 400")
    expect(await failure(upload.complete([large, small]))).toBe("InvalidPartOrder 400")
    expect(await failure(upload.complete([large, large]))).toBe("InvalidPartOrder 400")
    expect(await failure(upload.complete([small, large]))).toBe("EntityTooSmall 400")
    expect(await failure(upload.complete([]))).toBe("MalformedXML 400")
    expect(await failure(upload.complete([large], { MpuObjectSize: 5 }))).toBe("InvalidRequest 400")
    await upload.complete([large], { MpuObjectSize: MIN })
    expect((await read("refused")).length).toBe(MIN)
  })

  it("is completed under conditions, and stays open if they do not hold", async () => {
    await client.send(new PutObjectCommand({ Bucket, Key: "taken", Body: "before" }))
    const upload = await begin("taken")
    const part = await upload.part(1, LAST)
    expect(await failure(upload.complete([part], { IfNoneMatch: "*" }))).toBe("PreconditionFailed 412")
    expect(await failure(upload.complete([part], { IfMatch: '"other"' }))).toBe("PreconditionFailed 412")
    expect((await read("taken")).toString()).toBe("before")
    expect(server.openUploads()).toMatchObject([{ key: "taken", parts: 1, bytes: LAST.length }])
    await upload.complete([part], { IfMatch: `"${md5(Buffer.from("before")).toString("hex")}"` })
    expect((await read("taken")).equals(LAST)).toBe(true)
    const fresh = await begin("fresh")
    await fresh.complete([await fresh.part(1, LAST)], { IfNoneMatch: "*" })
  })

  it("ends once: completed or aborted, it is unknown afterwards", async () => {
    const upload = await begin("once")
    const part = await upload.part(1, LAST)
    const both = await Promise.all([failure(upload.complete([part])), failure(upload.complete([part]))])
    expect(both.sort()).toEqual(["NoSuchUpload 404", "none"])
    expect(await failure(upload.part(2, LAST))).toBe("NoSuchUpload 404")
    expect(await failure(upload.parts())).toBe("NoSuchUpload 404")
    expect(await failure(upload.abort())).toBe("NoSuchUpload 404")
    const other = await begin("once")
    await other.part(1, LAST)
    await other.abort()
    expect(await failure(other.complete([part]))).toBe("NoSuchUpload 404")
    expect((await read("once")).equals(LAST)).toBe(true)
  })

  it("exists only under its own key", async () => {
    const { UploadId } = await begin("mine")
    const part = new UploadPartCommand({ Bucket, Key: "yours", UploadId, PartNumber: 1, Body: LAST })
    expect(await failure(client.send(part))).toBe("NoSuchUpload 404")
  })

  it("accepts part numbers from 1 to 10,000", async () => {
    const upload = await begin("numbers")
    for (const number of [0, 10_001, 1.5])
      expect(await failure(upload.part(number, LAST))).toBe("InvalidArgument 400")
    await upload.complete([await upload.part(10_000, LAST)])
  })

  it("answers a repeated Complete like the first, if the server is told to", async () => {
    const repeating = await startS3Server({
      credentials: [CREDENTIALS],
      buckets: [Bucket],
      repeatedComplete: "repeat",
    })
    const its = connect(repeating)
    try {
      const upload = await begin("again", {}, its)
      const part = await upload.part(1, LAST)
      const first = await upload.complete([part])
      expect((await upload.complete([part])).ETag).toBe(first.ETag)
    } finally {
      its.destroy()
      await repeating.close()
    }
  })

  it("accepts parts copied from objects", async () => {
    await client.send(new PutObjectCommand({ Bucket, Key: "source", Body: SECOND }))
    const upload = await begin("copied")
    const copy = (PartNumber: number, CopySourceRange?: string) =>
      client
        .send(
          new UploadPartCopyCommand({
            Bucket,
            Key: "copied",
            UploadId: upload.UploadId,
            PartNumber,
            CopySource: `${Bucket}/source`,
            CopySourceRange,
          }),
        )
        .then(({ CopyPartResult }) => ({ PartNumber, ETag: CopyPartResult!.ETag }))
    await upload.complete([await copy(1), await copy(2, "bytes=10-19")])
    expect((await read("copied")).equals(Buffer.concat([SECOND, SECOND.subarray(10, 20)]))).toBe(true)
    const other = await begin("copied")
    const beyond = new UploadPartCopyCommand({
      Bucket,
      Key: "copied",
      UploadId: other.UploadId,
      PartNumber: 1,
      CopySource: `${Bucket}/source`,
      CopySourceRange: `bytes=0-${SECOND.length}`,
    })
    expect(await failure(client.send(beyond))).toBe("InvalidArgument 400")
  })
})
