/** Objects in S3's archival classes: what a look shows, and how they are asked back. */
import type { OpenedStore, StoredObject } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { writeSmallObject } from "@unseal/archive/store/small-object"
import { afterAll, beforeAll, expect, it } from "vitest"
import { type S3Server, startS3Server } from "../../../apps/simulator/src/s3/http/server.ts"
import type { ArchivalClass } from "../../../apps/simulator/src/s3/storage/archival.ts"
import { poisoned } from "../../harness/poisoned.ts"

const credential = {
  accessKeyId: "UNSEALTESTACCESSKEY",
  secretAccessKey: "a-secret-access-key-0123456789abcdef",
}
const never = new AbortController().signal
const BYTES = Buffer.alloc(1_504, 0x47)
const bulk = { tier: "bulk", days: 7 } as const

let server: S3Server
let store: OpenedStore
let retried: string[]
beforeAll(async () => {
  server = await startS3Server({
    ...{ credentials: [credential], buckets: ["recordings"], restoreDelayMs: Number.POSITIVE_INFINITY },
  })
  const url = `s3://recordings/prefix?${new URLSearchParams({ endpoint: server.url, region: "us-east-1" })}`
  const onRetry = (code: string) => retried.push(code)
  const opened = await openStore(url, { env: {}, credentials: credential, onRetry })
  store = { ...poisoned(opened), close: () => opened.close() }
})
afterAll(async () => {
  await store?.close()
  await server?.close()
})

async function archived(key: string, storageClass: ArchivalClass): Promise<StoredObject> {
  retried = []
  await writeSmallObject(store, key, BYTES, "video/mp2t", never)
  server.archive("recordings", `prefix/${key}`, storageClass)
  return (await store.stat(key, never))!
}

it.each<[ArchivalClass]>([["GLACIER"], ["DEEP_ARCHIVE"], ["INTELLIGENT_TIERING ARCHIVE_ACCESS"]])(
  "an object in %s is archived, then on its way, then readable, and always the same version",
  async (storageClass) => {
    const object = await archived("a.ts", storageClass)
    expect(object).toMatchObject({ size: BYTES.length, archival: { storageClass, isRestoring: false } })
    const code = "ERR_OBJECT_ARCHIVED"
    await expect(store.open("a.ts", 16, never)).rejects.toThrow(expect.objectContaining({ code }))

    expect(await store.restore!(object, bulk, never)).toBe("asked")
    expect(await store.stat("a.ts", never)).toEqual({
      ...object,
      archival: { storageClass, isRestoring: true },
    })
    expect(await store.restore!(object, { ...bulk, tier: "standard" }, never)).toBe("under-way")
    await expect(store.open("a.ts", 16, never)).rejects.toThrow(expect.objectContaining({ code }))

    server.archives.finish()
    const { archival: _, ...readable } = object
    expect(await store.stat("a.ts", never)).toEqual(readable)
    const bytes = await Array.fromAsync(store.read(object, { start: 0, end: 16 }, never), (piece) =>
      Buffer.from(piece),
    )
    expect(Buffer.concat(bytes)).toEqual(BYTES.subarray(0, 16))
    expect(await store.restore!(object, bulk, never)).toBe("readable")
    expect(retried).toEqual([])
  },
)

it("an object whose restored copy has expired is archived again, and comes back again", async () => {
  const object = await archived("b.ts", "GLACIER")
  server.archives.dayMs = 1
  try {
    expect(await store.restore!(object, { ...bulk, days: 1 }, never)).toBe("asked")
    server.archives.finish()
    await expect
      .poll(() => store.stat("b.ts", never), { timeout: 30_000 })
      .toMatchObject({ archival: { isRestoring: false } })
  } finally {
    server.archives.dayMs = 86_400_000
  }
  expect(await store.restore!(object, bulk, never)).toBe("asked")
})

it.each(["STANDARD_IA", "GLACIER_IR"])(
  "an object in %s can be read at once, and needs no restore",
  async (storageClass) => {
    const url = `s3://recordings/prefix?${new URLSearchParams({ endpoint: server.url, region: "us-east-1", storageClass })}`
    const placed = await openStore(url, { env: {}, credentials: credential })
    await writeSmallObject(placed, "c.ts", BYTES, "video/mp2t", never)
    await placed.close()
    const object = (await store.stat("c.ts", never))!
    expect(object.archival).toBeUndefined()
    expect(await store.restore!(object, bulk, never)).toBe("readable")
  },
)

it("an object that is gone is not found", async () => {
  const object = await archived("d.ts", "GLACIER")
  await store.remove("d.ts", never)
  await expect(store.restore!(object, bulk, never)).rejects.toThrow(
    expect.objectContaining({ code: "ERR_OBJECT_NOT_FOUND" }),
  )
})

it("a restore without the permission is refused with its name, and one that the store can't serve now is repeated", async () => {
  const object = await archived("e.ts", "GLACIER")
  server.policies.set(credential.accessKeyId, {
    Statement: { Effect: "Allow", Action: ["s3:GetObject", "s3:ListBucket"], Resource: "*" },
  })
  try {
    await expect(store.restore!(object, bulk, never)).rejects.toThrow(
      expect.objectContaining({
        code: "ERR_STORE_DENIED",
        message: expect.stringContaining("s3:RestoreObject"),
        ownRemedy: expect.stringContaining("s3:RestoreObject"),
      }),
    )
  } finally {
    server.policies.delete(credential.accessKeyId)
  }
  retried = []
  server.faults.add({ operation: "RestoreObject", times: 1, action: { status: 503, code: "SlowDown" } })
  expect(await store.restore!(object, bulk, never)).toBe("asked")
  expect(retried).toEqual(["ERR_STORE_BUSY"])
})

it("a store without RestoreObject says so, and is not asked again and again", async () => {
  const object = await archived("f.ts", "GLACIER")
  retried = []
  server.faults.add({ operation: "RestoreObject", times: 1, action: { status: 501, code: "NotImplemented" } })
  await expect(store.restore!(object, bulk, never)).rejects.toThrow(
    expect.objectContaining({
      code: "ERR_STORE_DENIED",
      message: expect.stringMatching(/does not support RestoreObject/),
    }),
  )
  expect(retried).toEqual([])
})

it("an abort ends a restore with its reason", async () => {
  const object = await archived("g.ts", "GLACIER")
  const reason = new Error("stop")
  await expect(store.restore!(object, bulk, AbortSignal.abort(reason))).rejects.toBe(reason)
  server.faults.add({ operation: "RestoreObject", times: 1, action: { hang: true } })
  const stopping = new AbortController()
  const restoring = store.restore!(object, bulk, stopping.signal)
  setTimeout(() => stopping.abort(reason), 50)
  await expect(restoring).rejects.toBe(reason)
})
