import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  GetBucketLocationCommand,
  GetObjectCommand,
  HeadBucketCommand,
  ListBucketsCommand,
  ListObjectsCommand,
  PutObjectCommand,
  paginateListObjectsV2,
  S3Client,
} from "@aws-sdk/client-s3"
import { describe, expect, it } from "vitest"
import { startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import { Bucket, client, failure, put } from "./sdk-client.ts"
import { CREDENTIALS } from "./signed-request.ts"

describe("a bucket", () => {
  it("is created, found, located and deleted only when empty", async () => {
    await client.send(new CreateBucketCommand({ Bucket: "another" }))
    await client.send(new HeadBucketCommand({ Bucket: "another" }))
    const { LocationConstraint } = await client.send(new GetBucketLocationCommand({ Bucket: "another" }))
    expect(LocationConstraint).toBeFalsy()
    const { Buckets } = await client.send(new ListBucketsCommand({}))
    expect(Buckets!.map((bucket) => bucket.Name)).toEqual(["another", Bucket])
    await put("a", "b", { Bucket: "another" })
    const remove = () => client.send(new DeleteBucketCommand({ Bucket: "another" }))
    expect(await failure(remove())).toBe("BucketNotEmpty 409")
    await client.send(new DeleteObjectCommand({ Bucket: "another", Key: "a" }))
    await remove()
    expect(await failure(client.send(new HeadBucketCommand({ Bucket: "another" })))).toBe("NotFound 404")
    expect(await failure(client.send(new CreateBucketCommand({ Bucket: "No_Bucket" })))).toBe(
      "InvalidBucketName 400",
    )
  })

  it("is listed in pages, by prefix and delimiter, whatever its keys contain", async () => {
    const keys = ["l/a", "l/b c", "l/b+c", "l/d/1", "l/d/2", "l/ü<&>", "l/\u0001", "l/z"]
    for (const key of keys) await put(key, key)
    const listed: string[] = []
    const prefixes: string[] = []
    const input = { Bucket, Prefix: "l/", Delimiter: "/", EncodingType: "url" as const }
    for await (const page of paginateListObjectsV2({ client, pageSize: 2 }, input)) {
      expect(page.KeyCount).toBeLessThanOrEqual(2)
      listed.push(...(page.Contents ?? []).map((entry) => decodeURIComponent(entry.Key!)))
      prefixes.push(...(page.CommonPrefixes ?? []).map((entry) => entry.Prefix!))
    }
    expect(prefixes).toEqual(["l/d/"])
    expect(listed).toEqual(
      keys
        .filter((key) => !key.startsWith("l/d/"))
        .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
    )
    const first = await client.send(new ListObjectsCommand({ Bucket, Prefix: "l/", MaxKeys: 3 }))
    expect(first.IsTruncated).toBe(true)
    const rest = await client.send(
      new ListObjectsCommand({ Bucket, Prefix: "l/", Marker: first.Contents!.at(-1)!.Key }),
    )
    expect(first.Contents!.length + rest.Contents!.length).toBe(keys.length)
    expect(first.Contents![0]).toMatchObject({ Size: 3, StorageClass: "STANDARD" })
  })
})

describe("random ETags", () => {
  it("differ for equal contents, and identify their version", async () => {
    const other = await startS3Server({ credentials: [CREDENTIALS], buckets: [Bucket], etags: "random" })
    const its = new S3Client({
      endpoint: other.url,
      region: "us-east-1",
      credentials: CREDENTIALS,
      forcePathStyle: true,
    })
    try {
      const store = () => its.send(new PutObjectCommand({ Bucket, Key: "a", Body: "same" }))
      const [{ ETag: first }, { ETag: second }] = [await store(), await store()]
      expect(first).not.toBe(second)
      const read = (IfMatch: string) => its.send(new GetObjectCommand({ Bucket, Key: "a", IfMatch }))
      expect(await failure(read(first!))).toBe("PreconditionFailed 412")
      expect(await (await read(second!)).Body!.transformToString()).toBe("same")
    } finally {
      its.destroy()
      await other.close()
    }
  })
})
