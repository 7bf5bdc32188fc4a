import { createHash, randomBytes } from "node:crypto"
import { Readable } from "node:stream"
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
} from "@aws-sdk/client-s3"
import { describe, expect, it } from "vitest"
import { Bucket, client, failure, put } from "./sdk-client.ts"

const md5 = (data: Buffer | string): string => createHash("md5").update(data).digest("hex")

const get = async (Key: string, more: object = {}) => {
  const reply = await client.send(new GetObjectCommand({ Bucket, Key, ...more }))
  return { ...reply, bytes: Buffer.from(await reply.Body!.transformToByteArray()) }
}

describe("an object", () => {
  it("comes back with its bytes, ETag, content type and metadata", async () => {
    const body = randomBytes(3_000_000)
    const { ETag } = await put("dir/object", body, {
      ContentType: "video/mp2t",
      CacheControl: "no-store",
      ContentEncoding: "identity",
      Metadata: { "source-etag": '"abc"', size: "12" },
    })
    expect(ETag).toBe(`"${md5(body)}"`)
    const got = await get("dir/object")
    expect(got.bytes.equals(body)).toBe(true)
    expect(got).toMatchObject({
      ETag,
      ContentLength: body.length,
      ContentType: "video/mp2t",
      CacheControl: "no-store",
      ContentEncoding: "identity",
      Metadata: { "source-etag": '"abc"', size: "12" },
    })
    const head = await client.send(new HeadObjectCommand({ Bucket, Key: "dir/object" }))
    expect(head).toMatchObject({ ETag, ContentLength: body.length, ContentType: "video/mp2t" })
    expect(Math.abs(Date.now() - head.LastModified!.getTime())).toBeLessThan(60_000)
  })

  it("may be empty", async () => {
    await put("empty", Buffer.alloc(0))
    expect((await get("empty")).bytes.length).toBe(0)
    expect(await failure(get("empty", { Range: "bytes=0-0" }))).toBe("InvalidRange 416")
  })

  it("may be uploaded as a stream with a known length", async () => {
    const body = randomBytes(300_000)
    await client.send(
      new PutObjectCommand({
        Bucket,
        Key: "stream",
        Body: Readable.from([body.subarray(0, 100_000), body.subarray(100_000)], { objectMode: false }),
        ContentLength: body.length,
      }),
    )
    expect((await get("stream")).bytes.equals(body)).toBe(true)
  })

  it("is read in ranges", async () => {
    const body = randomBytes(2_000_000)
    await put("ranged", body)
    for (const [Range, start, end] of [
      ["bytes=0-15", 0, 16],
      ["bytes=700000-1800000", 700_000, 1_800_001],
      ["bytes=1999999-", 1_999_999, 2_000_000],
      ["bytes=-16", 1_999_984, 2_000_000],
    ] as const) {
      const got = await get("ranged", { Range })
      expect(got.$metadata.httpStatusCode).toBe(206)
      expect(got.ContentRange).toBe(`bytes ${start}-${end - 1}/2000000`)
      expect(got.bytes.equals(body.subarray(start, end))).toBe(true)
    }
    expect(await failure(get("ranged", { Range: "bytes=2000000-" }))).toBe("InvalidRange 416")
  })

  it("is read under conditions", async () => {
    const { ETag } = await put("conditional", "one")
    expect((await get("conditional", { IfMatch: ETag })).bytes.toString()).toBe("one")
    expect(await failure(get("conditional", { IfMatch: '"other"' }))).toBe("PreconditionFailed 412")
    expect(await failure(get("conditional", { IfNoneMatch: ETag }))).toMatch(/ 304$/)
    expect((await get("conditional", { IfNoneMatch: '"other"' })).bytes.toString()).toBe("one")
    const past = new Date(Date.now() - 3_600_000)
    expect(await failure(get("conditional", { IfUnmodifiedSince: past }))).toBe("PreconditionFailed 412")
    expect(await failure(get("conditional", { IfModifiedSince: new Date() }))).toMatch(/ 304$/)
  })

  it("is written under conditions", async () => {
    const { ETag } = await put("written", "one", { IfNoneMatch: "*" })
    expect(await failure(put("written", "two", { IfNoneMatch: "*" }))).toBe("PreconditionFailed 412")
    expect(await failure(put("written", "two", { IfMatch: '"other"' }))).toBe("PreconditionFailed 412")
    expect(await failure(put("absent", "two", { IfMatch: ETag }))).toBe("NoSuchKey 404")
    await put("written", "two", { IfMatch: ETag })
    expect((await get("written")).bytes.toString()).toBe("two")
    expect(await failure(put("written", "x", { IfNoneMatch: '"etag"' }))).toBe("NotImplemented 501")
  })

  it("of several concurrent creations is created exactly once", async () => {
    const attempts = Array.from({ length: 8 }, (_, i) => failure(put("race", `${i}`, { IfNoneMatch: "*" })))
    const verdicts = await Promise.all(attempts)
    expect(verdicts.filter((verdict) => verdict === "none").length).toBe(1)
    expect(verdicts.filter((verdict) => verdict === "PreconditionFailed 412").length).toBe(7)
  })

  it.each(["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"] as const)(
    "has its %s verified by the server and by the client",
    async (ChecksumAlgorithm) => {
      const body = randomBytes(100_000)
      const stored = await put(`sum-${ChecksumAlgorithm}`, body, { ChecksumAlgorithm })
      const value = stored[`Checksum${ChecksumAlgorithm}`]
      expect(value).toBeTruthy()
      const got = await get(`sum-${ChecksumAlgorithm}`, { ChecksumMode: "ENABLED" })
      expect(got[`Checksum${ChecksumAlgorithm}`]).toBe(value)
      expect(got.ChecksumType).toBe("FULL_OBJECT")
      const other = { [`Checksum${ChecksumAlgorithm}`]: value }
      expect(await failure(put("sum", "other", other))).toBe("BadDigest 400")
      expect(await failure(put("sum", "other", { [`Checksum${ChecksumAlgorithm}`]: "AAA=" }))).toBe(
        "InvalidRequest 400",
      )
    },
  )

  it("has its Content-MD5 verified", async () => {
    const ContentMD5 = createHash("md5").update("right").digest("base64")
    await put("md5", "right", { ContentMD5 })
    expect(await failure(put("md5", "wrong", { ContentMD5 }))).toBe("BadDigest 400")
    expect(await failure(put("md5", "wrong", { ContentMD5: "x" }))).toBe("InvalidDigest 400")
    expect((await get("md5")).bytes.toString()).toBe("right")
  })

  it("has at most 2 kB of metadata", async () => {
    expect(await failure(put("meta", "x", { Metadata: { a: "b".repeat(2048) } }))).toBe(
      "MetadataTooLarge 400",
    )
  })

  it("keeps bytes that are being read when it is replaced and deleted", async () => {
    const [before, after] = [randomBytes(30_000_000), randomBytes(1000)]
    const { ETag } = await put("replaced", before)
    const reply = await client.send(new GetObjectCommand({ Bucket, Key: "replaced" }))
    await put("replaced", after)
    expect(await failure(get("replaced", { IfMatch: ETag }))).toBe("PreconditionFailed 412")
    await client.send(new DeleteObjectCommand({ Bucket, Key: "replaced" }))
    const bytes = Buffer.from(await reply.Body!.transformToByteArray())
    expect(bytes.equals(before)).toBe(true)
    expect(await failure(get("replaced"))).toBe("NoSuchKey 404")
  })

  it("is copied with its metadata, or with other metadata", async () => {
    const body = randomBytes(3_000_000)
    const { ETag } = await put("copy/from here", body, { Metadata: { kind: "a" } })
    const CopySource = `${Bucket}/${encodeURIComponent("copy/from here")}`
    const copy = (Key: string, more: object = {}) =>
      client.send(new CopyObjectCommand({ Bucket, Key, CopySource, ...more }))
    expect((await copy("copy/to")).CopyObjectResult!.ETag).toBe(ETag)
    const copied = await get("copy/to")
    expect(copied.bytes.equals(body)).toBe(true)
    expect(copied.Metadata).toEqual({ kind: "a" })
    await copy("copy/to", { MetadataDirective: "REPLACE", Metadata: { kind: "b" } })
    expect((await get("copy/to")).Metadata).toEqual({ kind: "b" })
    expect(await failure(copy("copy/from here"))).toBe("InvalidRequest 400")
    expect(await failure(copy("copy/x", { CopySourceIfMatch: '"x"' }))).toBe("PreconditionFailed 412")
    expect(await failure(copy("copy/x", { CopySource: `${Bucket}/absent` }))).toBe("NoSuchKey 404")
  })

  it("is deleted repeatedly, alone and with others", async () => {
    await put("gone/1", "1")
    await put("gone/2", "2")
    await put("gone/<3>&", "3")
    await client.send(new DeleteObjectCommand({ Bucket, Key: "gone/1" }))
    await client.send(new DeleteObjectCommand({ Bucket, Key: "gone/1" }))
    const { Deleted, Errors } = await client.send(
      new DeleteObjectsCommand({
        Bucket,
        Delete: { Objects: [{ Key: "gone/<3>&" }, { Key: "gone/1" }, { Key: "gone/2", ETag: '"other"' }] },
      }),
    )
    expect(Deleted!.map((entry) => entry.Key)).toEqual(["gone/<3>&", "gone/1"])
    expect(Errors!.map((entry) => `${entry.Key} ${entry.Code}`)).toEqual(["gone/2 PreconditionFailed"])
    expect((await get("gone/2")).bytes.toString()).toBe("2")
  })

  it("that is missing gets another error than one whose bucket is missing", async () => {
    expect(await failure(get("absent"))).toBe("NoSuchKey 404")
    expect(await failure(client.send(new HeadObjectCommand({ Bucket, Key: "absent" })))).toBe("NotFound 404")
    expect(await failure(get("a", { Bucket: "nowhere" }))).toBe("NoSuchBucket 404")
    expect(await failure(put("a", "b", { Bucket: "nowhere" }))).toBe("NoSuchBucket 404")
  })
})
