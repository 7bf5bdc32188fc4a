import {
  AbortMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
} from "@aws-sdk/client-s3"
import { describe, expect, it } from "vitest"
import { Bucket, begin, client, FIRST, failure, LAST, md5, read, server } from "./multipart-server.ts"

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
