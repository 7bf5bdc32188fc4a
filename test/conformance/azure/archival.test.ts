/**
 * Blobs in Azure's archive tier. Azurite rehydrates at once, so a small server that follows the protocol shows blobs on their
 * way.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest"
import { poisoned } from "../../harness/poisoned.ts"

const never = new AbortController().signal
const bulk = { tier: "bulk", days: 7 } as const

/** What the blob's headers say, and the response to Set Blob Tier. */
let blob: { tier: string; status?: string }
let refusal: { status: number; code: string } | null
let asked: { tier: unknown; priority: unknown }[]
let server: Server
let store: OpenedStore

function answer(request: IncomingMessage, response: ServerResponse): void {
  request.resume()
  const refuse = (status: number, code: string) =>
    response.writeHead(status, { "x-ms-error-code": code, "content-length": 0 }).end()
  if (!request.url!.includes("/a.ts")) return void refuse(404, "BlobNotFound")
  if (request.method === "PUT") {
    asked.push({
      tier: request.headers["x-ms-access-tier"],
      priority: request.headers["x-ms-rehydrate-priority"],
    })
    if (refusal) return void refuse(refusal.status, refusal.code)
    const isArchived = blob.tier === "Archive"
    if (isArchived) blob.status = "rehydrate-pending-to-hot"
    return void response.writeHead(isArchived ? 202 : 200, { "content-length": 0 }).end()
  }
  const common = {
    ...{ etag: '"0x1"', "last-modified": new Date(0).toUTCString(), "x-ms-blob-type": "BlockBlob" },
    ...{ "x-ms-access-tier": blob.tier, ...(blob.status && { "x-ms-archive-status": blob.status }) },
  }
  if (request.method === "HEAD")
    return void response.writeHead(200, { ...common, "content-length": 1_504 }).end()
  if (blob.tier === "Archive") return void refuse(409, blob.status ? "BlobBeingRehydrated" : "BlobArchived")
  response.writeHead(206, { ...common, "content-range": "bytes 0-15/1504", "content-length": 16 })
  response.end(Buffer.alloc(16))
}

beforeAll(async () => {
  server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/account`
  const env = { AZURE_STORAGE_ACCOUNT: "account", AZURE_STORAGE_KEY: Buffer.alloc(64, 1).toString("base64") }
  const opened = await openStore(`azure://archives?${new URLSearchParams({ endpoint })}`, { env })
  store = { ...poisoned(opened), close: () => opened.close() }
})
beforeEach(() => {
  blob = { tier: "Archive" }
  ;[refusal, asked] = [null, []]
})
afterAll(async () => {
  await store?.close()
  server?.closeAllConnections()
  server?.close()
})

it("a blob in the archive tier is archived, then on its way, then readable, and always the same version", async () => {
  const object = (await store.stat("a.ts", never))!
  expect(object).toMatchObject({ size: 1_504, archival: { storageClass: "Archive", isRestoring: false } })
  expect(await store.restore!(object, bulk, never)).toBe("asked")
  expect(asked).toEqual([{ tier: "Hot", priority: "Standard" }])
  expect(await store.stat("a.ts", never)).toEqual({
    ...object,
    archival: { storageClass: "Archive", isRestoring: true },
  })
  const code = "ERR_OBJECT_ARCHIVED"
  await expect(store.open("a.ts", 16, never)).rejects.toThrow(expect.objectContaining({ code }))
  blob = { tier: "Hot" }
  const { archival: _, ...readable } = object
  expect(await store.stat("a.ts", never)).toEqual(readable)
})

it("a blob that is being rehydrated already is under way, whoever asked for it", async () => {
  const object = (await store.stat("a.ts", never))!
  refusal = { status: 409, code: "BlobBeingRehydrated" }
  expect(await store.restore!(object, bulk, never)).toBe("under-way")
  expect(asked).toHaveLength(1)
})

it.each(["Hot", "Cool", "Cold"])(
  "a blob in the tier %s can be read at once, and needs no restore",
  async (tier) => {
    blob = { tier }
    const object = (await store.stat("a.ts", never))!
    expect(object.archival).toBeUndefined()
    expect(await store.restore!(object, bulk, never)).toBe("readable")
  },
)

it.each([
  [403, "AuthorizationPermissionMismatch", "ERR_STORE_DENIED"],
  [404, "BlobNotFound", "ERR_OBJECT_NOT_FOUND"],
  [409, "LeaseIdMissing", "ERR_STORE_DENIED"],
] as const)("a restore that answers %i %s fails with %s", async (status, code, expected) => {
  const object = (await store.stat("a.ts", never))!
  refusal = { status, code }
  await expect(store.restore!(object, bulk, never)).rejects.toThrow(
    expect.objectContaining({ code: expected }),
  )
})
