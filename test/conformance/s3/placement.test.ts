/** What a store's URL adds to new objects and to every request, on buckets whose policy demands it. */

import { HeadObjectCommand, S3Client } from "@aws-sdk/client-s3"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { type S3Server, startS3Server } from "../../../apps/simulator/src/s3/http/server.ts"
import type { QuirkName } from "../../../apps/simulator/src/s3/quirks/quirks.ts"
import { poisoned } from "../../harness/poisoned.ts"
import { expectSameBytes, readAll, sampleBytes, writeParts } from "../suite/bytes.ts"

const PART = 6972 * 752
const never = new AbortController().signal
const credentials = { accessKeyId: "UNSEALTESTACCESSKEY", secretAccessKey: "canary-secret-access-key" }
const options = { contentType: "video/mp2t", metadata: { mark: "ours" }, existing: "fail" } as const

const DEMANDS: Readonly<Partial<Record<QuirkName, Readonly<Record<string, string>>>>> = {
  "demands-sse-kms": {
    serverSideEncryption: "aws:kms",
    sseKmsKeyId: "alias/archives",
    bucketKeyEnabled: "true",
  },
  "demands-acl": { acl: "bucket-owner-full-control" },
  "demands-tagging": { tagging: "team=media&cost centre=4, paid" },
  "demands-storage-class": { storageClass: "STANDARD_IA" },
  "demands-owner": { expectedBucketOwner: "111122223333" },
}

let server: S3Server
const opened: OpenedStore[] = []
beforeAll(async () => {
  server = await startS3Server({ credentials: [credentials], buckets: ["archives"] })
})
beforeEach(() => {
  server.quirks.clear()
})
afterAll(async () => {
  for (const store of opened) await store.close()
  await server.close()
})

async function open(parameters: Readonly<Record<string, string>>): Promise<OpenedStore> {
  const query = new URLSearchParams({ endpoint: server.url, ...parameters })
  const store = poisoned(
    await openStore(`s3://archives/prefix?${query}`, {
      env: {},
      partSizeBytes: PART,
      credentials,
    }),
  )
  opened.push(store)
  return store
}

/** Uses every operation of a store. Another process resumes an upload halfway. */
async function exercise(parameters: Readonly<Record<string, string>>, key: string): Promise<void> {
  const store = await open(parameters)
  for (const size of [0, 188 * 100, 2 * PART + 188]) {
    const bytes = sampleBytes(`${key} ${size}`, size)
    const name = `${key}/${size}.ts`
    expect(await store.stat(name, never)).toBeNull()
    const begun = await store.create(name, size, options, never)
    let parts = await writeParts(begun, bytes.subarray(0, Math.min(size, PART)))
    let writer = begun
    if (begun.resumable) {
      writer = await (await open(parameters)).create(name, size, { ...options, token: begun.token }, never)
      expect((await writer.written(never)).size).toBe(1)
      parts = await writeParts(writer, bytes)
    }
    const object = await writer.complete(parts, never)
    expect(object).toMatchObject({ size, metadata: options.metadata })
    if (size > 0) expectSameBytes(await readAll(store, name), bytes)
    const head = await store.open(name, 100, never)
    head!.close()
  }
  const left = await store.create(`${key}/left.ts`, 2 * PART, options, never)
  const uploads = await Array.fromAsync(store.openUploads(never))
  expect(uploads.map((upload) => upload.key)).toEqual([`${key}/left.ts`])
  await left.abort()
  await store.remove(`${key}/0.ts`, never)
  expect(server.openUploads()).toEqual([])
}

describe("a bucket", () => {
  for (const [quirk, parameters] of Object.entries(DEMANDS) as [QuirkName, Record<string, string>][])
    it(`that ${quirk} is written, resumed and read with ${Object.keys(parameters).join(", ")}`, async () => {
      server.quirks.add(quirk)
      await exercise(parameters, quirk)
    })

  for (const quirk of Object.keys(DEMANDS) as QuirkName[])
    it(`that ${quirk} refuses what lacks it, whole and in parts`, async () => {
      server.quirks.add(quirk)
      const store = await open({})
      const denied = { code: "ERR_STORE_DENIED" }
      const small = await store.create("lacks.ts", 0, options, never)
      await expect(small.complete(new Map(), never)).rejects.toMatchObject(denied)
      await expect(store.create("lacks.ts", 2 * PART, options, never)).rejects.toMatchObject(denied)
    })

  it("that demands everything at once gets it, and keeps it with the object", async () => {
    const all = Object.assign({}, ...Object.values(DEMANDS))
    for (const quirk of Object.keys(DEMANDS) as QuirkName[]) server.quirks.add(quirk)
    await exercise(all, "all")
    server.quirks.clear()
    const client = new S3Client({
      endpoint: server.url,
      forcePathStyle: true,
      region: "us-east-1",
      credentials,
    })
    for (const size of [188 * 100, 2 * PART + 188])
      expect(
        await client.send(new HeadObjectCommand({ Bucket: "archives", Key: `prefix/all/${size}.ts` })),
      ).toMatchObject({
        ServerSideEncryption: "aws:kms",
        SSEKMSKeyId: "alias/archives",
        BucketKeyEnabled: true,
        StorageClass: "STANDARD_IA",
        TagCount: 2,
      })
    client.destroy()
  })

  it("of an unexpected owner is neither read nor written", async () => {
    const store = await open({ expectedBucketOwner: "999999999999" })
    await expect(store.remove("a.ts", never)).rejects.toMatchObject({ code: "ERR_STORE_DENIED" })
    const small = await store.create("a.ts", 0, options, never)
    await expect(small.complete(new Map(), never)).rejects.toMatchObject({ code: "ERR_STORE_DENIED" })
  })

  it("whose reader pays is written, resumed and read", async () => {
    server.quirks.add("requester-pays")
    await exercise({ requestPayer: "requester" }, "written")
  })

  it("whose reader pays is read", async () => {
    await exercise({}, "paid")
    server.quirks.add("requester-pays")
    const store = await open({ requestPayer: "requester" })
    const size = 2 * PART + 188
    expectSameBytes(await readAll(store, `paid/${size}.ts`), sampleBytes(`paid ${size}`, size))
    expect((await store.open("paid/18800.ts", 100, never))!.object.size).toBe(18_800)
    const plain = await open({})
    const object = await store.stat("paid/18800.ts", never)
    const reading = plain.read(object!, { start: 0, end: 10 }, never)[Symbol.asyncIterator]()
    await expect(reading.next()).rejects.toMatchObject({ code: "ERR_STORE_DENIED" })
  })
})
