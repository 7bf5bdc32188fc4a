import { createHash, randomBytes } from "node:crypto"
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  type CompleteMultipartUploadCommandInput,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
  type UploadPartCommandInput,
  UploadPartCopyCommand,
} from "@aws-sdk/client-s3"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { type S3Server, startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import { CREDENTIALS } from "./signed-request.ts"

const Bucket = "archives"
const MIN = 5 * 1024 * 1024
const FIRST = randomBytes(MIN)
const SECOND = randomBytes(MIN + 16)
const LAST = randomBytes(1000)

let server: S3Server
let client: S3Client

const connect = (to: S3Server) =>
  new S3Client({
    endpoint: to.url,
    region: "us-east-1",
    credentials: CREDENTIALS,
    forcePathStyle: true,
    maxAttempts: 1,
    // No checksums by default: if an upload was begun without an algorithm, its parts may carry none.
    requestChecksumCalculation: "WHEN_REQUIRED",
  })

beforeAll(async () => {
  server = await startS3Server({ credentials: [CREDENTIALS], buckets: [Bucket] })
  client = connect(server)
})
afterEach(async () => {
  for (const { key, uploadId } of server.openUploads())
    await client.send(new AbortMultipartUploadCommand({ Bucket, Key: key, UploadId: uploadId }))
})
afterAll(async () => {
  client.destroy()
  await server.close()
})

const failure = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "none",
    (error) => `${error.name} ${error.$metadata?.httpStatusCode}`,
  )
const md5 = (...data: Buffer[]): Buffer => createHash("md5").update(Buffer.concat(data)).digest()

/** Begins an upload of `Key`. Returns short names for its operations. */
async function begin(Key: string, more: Partial<CreateMultipartUploadCommandInput> = {}, by = client) {
  const { UploadId, ...created } = await by.send(new CreateMultipartUploadCommand({ Bucket, Key, ...more }))
  const upload = { Bucket, Key, UploadId }
  return {
    UploadId,
    created,
    async part(PartNumber: number, Body: Buffer, options: Partial<UploadPartCommandInput> = {}) {
      const { $metadata, ...tags } = await by.send(
        new UploadPartCommand({ ...upload, PartNumber, Body, ...options }),
      )
      return { PartNumber, ...tags }
    },
    complete: (Parts: CompletedPart[], options: Partial<CompleteMultipartUploadCommandInput> = {}) =>
      by.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts }, ...options })),
    parts: (options: object = {}) => by.send(new ListPartsCommand({ ...upload, ...options })),
    abort: () => by.send(new AbortMultipartUploadCommand(upload)),
  }
}

const read = async (Key: string, Range?: string): Promise<Buffer> => {
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key, Range }))
  return Buffer.from(await Body!.transformToByteArray())
}

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

describe("a multipart upload with checksums", () => {
  it.each(["CRC32", "SHA256"] as const)(
    "of %s needs each part's, and answers a composite one",
    async (algorithm) => {
      const upload = await begin("sums", { ChecksumAlgorithm: algorithm })
      expect(upload.created).toMatchObject({ ChecksumAlgorithm: algorithm, ChecksumType: "COMPOSITE" })
      const first = await upload.part(1, FIRST, { ChecksumAlgorithm: algorithm })
      const second = await upload.part(2, LAST, { ChecksumAlgorithm: algorithm })
      const name = `Checksum${algorithm}` as const
      expect((await upload.parts()).Parts!.map((part) => part[name])).toEqual([first[name], second[name]])
      const bare = [first, second].map(({ PartNumber, ETag }) => ({ PartNumber, ETag }))
      expect(await failure(upload.complete(bare))).toBe("InvalidRequest 400")
      expect(await failure(upload.complete([first, { ...second, [name]: first[name] }]))).toBe(
        "InvalidPart 400",
      )
      const completed = await upload.complete([first, second])
      expect(completed[name]).toMatch(/^[A-Za-z0-9+/=]+-2$/)
      const head = await client.send(new HeadObjectCommand({ Bucket, Key: "sums", ChecksumMode: "ENABLED" }))
      expect(head[name]).toBe(completed[name])
      expect(head.ChecksumType).toBe("COMPOSITE")
      expect((await read("sums")).length).toBe(FIRST.length + LAST.length)
    },
  )

  it("over the full object has the checksum of a single upload", async () => {
    const Body = Buffer.concat([FIRST, LAST])
    const whole = await client.send(
      new PutObjectCommand({ Bucket, Key: "full", Body, ChecksumAlgorithm: "CRC32" }),
    )
    const upload = await begin("full", { ChecksumAlgorithm: "CRC32", ChecksumType: "FULL_OBJECT" })
    const parts = [
      await upload.part(1, FIRST, { ChecksumAlgorithm: "CRC32" }),
      await upload.part(2, LAST, { ChecksumAlgorithm: "CRC32" }),
    ]
    const wrong = { ChecksumCRC32: parts[0]!.ChecksumCRC32!, ChecksumType: "FULL_OBJECT" } as const
    expect(await failure(upload.complete(parts, wrong))).toBe("BadDigest 400")
    const right = { ChecksumCRC32: whole.ChecksumCRC32!, ChecksumType: "FULL_OBJECT" } as const
    expect((await upload.complete(parts, right)).ChecksumCRC32).toBe(whole.ChecksumCRC32)
    const got = await client.send(new GetObjectCommand({ Bucket, Key: "full", ChecksumMode: "ENABLED" }))
    expect((await got.Body!.transformToByteArray()).length).toBe(Body.length)
  })

  it("refuses a part with a checksum that the upload was not begun with", async () => {
    const without = await begin("mismatch")
    const crc32 = { ChecksumAlgorithm: "CRC32" } as const
    expect(await failure(without.part(1, LAST, crc32))).toBe("InvalidRequest 400")
    const other = await begin("mismatch", { ChecksumAlgorithm: "SHA256" })
    expect(await failure(other.part(1, LAST, crc32))).toBe("InvalidRequest 400")
    expect(server.openUploads().map((upload) => upload.parts)).toEqual([0, 0])
  })

  it("refuses types that its algorithm does not support", async () => {
    const sha = begin("types", { ChecksumAlgorithm: "SHA256", ChecksumType: "FULL_OBJECT" })
    expect(await failure(sha)).toBe("InvalidRequest 400")
    const crc = begin("types", { ChecksumAlgorithm: "CRC64NVME", ChecksumType: "COMPOSITE" })
    expect(await failure(crc)).toBe("InvalidRequest 400")
  })

  it("verifies and echoes each part's checksum, and keeps nothing of a wrong part", async () => {
    const upload = await begin("parts", { ChecksumAlgorithm: "CRC32" })
    expect(await failure(upload.part(1, LAST, { ChecksumCRC32: "AAAAAA==" }))).toBe("BadDigest 400")
    const ContentMD5 = md5(FIRST).toString("base64")
    expect(await failure(upload.part(1, LAST, { ContentMD5 }))).toBe("BadDigest 400")
    expect((await upload.parts()).Parts ?? []).toEqual([])
    // The server computes it for a part without one.
    expect((await upload.part(1, FIRST, { ContentMD5 })).ChecksumCRC32).toMatch(/^.{6}==$/)
  })
})

describe("the listings of uploads and parts", () => {
  it("come in pages", async () => {
    const upload = await begin("list")
    for (const number of [2, 4, 6, 8, 10]) await upload.part(number, LAST)
    const numbers: number[] = []
    for (let marker: string | undefined, more = true; more; ) {
      const page = await upload.parts({ MaxParts: 2, PartNumberMarker: marker })
      numbers.push(...page.Parts!.map((part) => part.PartNumber!))
      expect(page.Parts!.every((part) => part.Size === LAST.length)).toBe(true)
      marker = page.NextPartNumberMarker
      more = page.IsTruncated!
    }
    expect(numbers).toEqual([2, 4, 6, 8, 10])
  })

  it("are sorted by key and age, filtered by prefix, and continue after a removed upload", async () => {
    const begun: string[] = []
    for (const key of ["u/b", "u/a", "u/a", "u/c", "v"]) begun.push((await begin(key)).UploadId!)
    const list = (more: object = {}) => client.send(new ListMultipartUploadsCommand({ Bucket, ...more }))
    const all = (await list({ Prefix: "u/" })).Uploads!
    expect(all.map((upload) => upload.UploadId)).toEqual([begun[1], begun[2], begun[0], begun[3]])
    const first = await list({ MaxUploads: 1 })
    expect(first).toMatchObject({ IsTruncated: true, NextKeyMarker: "u/a", NextUploadIdMarker: begun[1] })
    await client.send(new AbortMultipartUploadCommand({ Bucket, Key: "u/a", UploadId: begun[1] }))
    const rest = await list({ KeyMarker: first.NextKeyMarker, UploadIdMarker: first.NextUploadIdMarker })
    expect(rest.Uploads!.map((upload) => upload.UploadId)).toEqual([begun[2], begun[0], begun[3], begun[4]])
    const later = await list({ KeyMarker: "u/a" })
    expect(later.Uploads!.map((upload) => upload.Key)).toEqual(["u/b", "u/c", "v"])
  })
})
