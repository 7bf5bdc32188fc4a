import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { describe, expect, it } from "vitest"
import {
  ARCHIVE,
  archive,
  baseUrl,
  type CannedResponse,
  client,
  never,
  PROJECT,
  requests,
  SECRET,
  vendor,
} from "../../../test/harness/vendor-server.ts"
import type { VendorClientOptions } from "./client.ts"
import type { UploadTarget } from "./upload-target.ts"

describe("an archive", () => {
  it("has the fields that Unseal uses, and no others", async () => {
    vendor.answers = [
      {
        body: {
          id: ARCHIVE.toUpperCase(),
          status: "available",
          password: "e42cd23=",
          url: "https://example.com/archive?Signature=x",
          size: "18023312",
          sha256sum: "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
          createdAt: 1384221380000,
          projectId: 123456,
          applicationId: "78d335fa-323d-0114-9c3d-d6f0d48968cf",
          streams: [{ streamId: "x" }],
          __proto__: { polluted: true },
        },
      },
    ]
    expect(await client().getArchive(ARCHIVE, never)).toEqual({
      archiveId: ARCHIVE,
      status: "available",
      encryptedPassword: "e42cd23=",
      url: "https://example.com/archive?Signature=x",
      size: 18_023_312,
      sha256sum: "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
      createdAt: 1384221380000,
      projectId: PROJECT,
    })
    expect(requests).toMatchObject([{ method: "GET", url: `/v2/project/${PROJECT}/archive/${ARCHIVE}` }])
    expect(requests[0]!.headers["x-opentok-auth"]).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/)
  })

  it("has no field that the vendor leaves empty", async () => {
    vendor.answers = [
      { body: archive(ARCHIVE, { password: "", url: null, sha256sum: "", size: 0, partnerId: null }) },
    ]
    expect(await client().getArchive(ARCHIVE, never)).toEqual({
      archiveId: ARCHIVE,
      status: "uploaded",
      size: 0,
    })
  })

  it("is null if the vendor has none", async () => {
    vendor.answers = [{ status: 404 }]
    expect(await client().getArchive(ARCHIVE, never)).toBeNull()
    expect(requests).toHaveLength(1)
  })

  it.each([
    ["no JSON", "canary-password {"],
    ["no archive", { items: [] }],
    ["an id that is not one", archive("../../etc/passwd", { password: "canary-password" })],
    ["an endless status", archive(ARCHIVE, { status: "x".repeat(65) })],
  ])("is not understood, and not quoted, if the answer is %s", async (_, body) => {
    vendor.answers = [{ body }]
    const failure = client().getArchive(ARCHIVE, never)
    await expect(failure).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE", status: 200 })
    await expect(failure).rejects.not.toThrow(/canary/)
  })
})

describe("a list of archives", () => {
  it("is requested in overlapping pages, and ends by itself", async () => {
    const ids = Array.from(
      { length: 25 },
      (_, index) => `00000000-0000-4000-8000-0000000000${String(index).padStart(2, "0")}`,
    )
    const given: string[] = []
    vendor.answers = [0, 8, 16, 23].map((offset) => ({
      body: { count: 25, items: ids.slice(offset, offset + 10).map((id) => archive(id)) },
    }))
    for await (const { archiveId } of client().listArchives({ pageSize: 10, overlap: 2 }, never))
      given.push(archiveId)
    expect(given).toEqual(ids)
    expect(requests.map(({ url }) => url)).toEqual(
      [0, 8, 16, 23].map((offset) => `/v2/project/${PROJECT}/archive?offset=${offset}&count=10`),
    )
  })

  it.each([0, 1_001, 1.5])("can't have pages of %d", (pageSize) => {
    expect(() => client().listArchives({ pageSize }, never)).toThrow(RangeError)
  })

  it("fails if the project does not exist", async () => {
    vendor.answers = [{ status: 404 }]
    await expect(Array.fromAsync(client().listArchives({}, never))).rejects.toMatchObject({
      code: "ERR_STORE_DENIED",
      status: 404,
    })
  })
})

describe("a storage", () => {
  const storage: UploadTarget = {
    type: "s3",
    config: { bucket: "archives", accessKey: "AKID", secretKey: "canary-secret-key" },
    fallback: "none",
    certificate: null,
  }

  it("is put as JSON", async () => {
    await client().setStorage(storage, never)
    expect(requests).toMatchObject([{ method: "PUT", url: `/v2/project/${PROJECT}/archive/storage` }])
    expect(requests[0]!.headers["content-type"]).toBe("application/json")
    expect(JSON.parse(requests[0]!.body)).toEqual(storage)
  })

  it.each([
    [400, "ERR_STORE_DENIED", /invalid JSON, or no upload target/],
    [401, "ERR_STORE_DENIED", /not authenticated/],
    [403, "ERR_STORE_DENIED", /the project id or the secret is wrong/],
    [404, "ERR_STORE_DENIED", /no such project/],
    [418, "ERR_STORE_DENIED", /418/],
    [500, "ERR_STORE_UNAVAILABLE", /500/],
  ])("is not put again after %d, which is a plain sentence without secrets", async (status, code, words) => {
    vendor.answers = [
      { status, body: { message: `no bucket archives\nfor ${SECRET} and canary-secret-key` } },
    ]
    const failure = client().setStorage(storage, never)
    await expect(failure).rejects.toMatchObject({ name: "UnsealError", code, status })
    await expect(failure).rejects.toThrow(words)
    await expect(failure).rejects.toThrow("; it says: no bucket archives for *** and ***")
    await expect(failure).rejects.not.toThrow(/canary/)
    await expect(failure).rejects.toHaveProperty("remedy", expect.not.stringContaining("bucket"))
    expect(requests).toHaveLength(1)
  })

  it.each([429, 503])("is put again after %d with Retry-After: nothing was done", async (status) => {
    vendor.answers = [{ status, headers: { "retry-after": "0" } }, {}]
    await client().setStorage(storage, never)
    expect(requests).toHaveLength(2)
  })

  it("does not follow a redirect, which would send the secrets elsewhere", async () => {
    vendor.answers = [{ status: 307, headers: { location: `${baseUrl}/elsewhere` } }]
    await expect(client().setStorage(storage, never)).rejects.toThrow("307")
    expect(requests).toHaveLength(1)
  })
})

describe("a GET", () => {
  const ask = (options?: Partial<VendorClientOptions>, signal = never) =>
    client(options).getArchive(ARCHIVE, signal)

  it.each<[string, CannedResponse]>([
    ["500", { status: 500 }],
    ["502", { status: 502 }],
    ["429", { status: 429 }],
    ["429 with Retry-After", { status: 429, headers: { "retry-after": "0" } }],
    ["a broken connection", { reset: true }],
  ])("is asked again after %s, each time with a new token", async (_, response) => {
    vendor.answers = [response, response, { body: archive(ARCHIVE) }]
    const outcomes: string[] = []
    const onRequest = (outcome: string) => void outcomes.push(outcome)
    expect(await ask({ onRequest })).toMatchObject({ archiveId: ARCHIVE })
    const expected = response.status === 429 ? "busy" : "unavailable"
    expect(outcomes).toEqual([expected, expected, "ok"])
    expect(new Set(requests.map(({ headers }) => headers["x-opentok-auth"])).size).toBe(3)
  })

  it.each<[string, CannedResponse]>([
    ["5xx", { status: 503 }],
    ["429", { status: 429, headers: { "retry-after": "0" } }],
    ["broken connections", { reset: true }],
  ])("is given up after a number of attempts that ended in %s", async (_, response) => {
    vendor.answers = [response]
    await expect(ask({ attempts: 4 })).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
    expect(requests).toHaveLength(4)
  })

  it.each([400, 401, 403])("is not repeated after %d", async (status) => {
    vendor.answers = [{ status }]
    await expect(ask()).rejects.toMatchObject({ code: "ERR_STORE_DENIED", status })
    expect(requests).toHaveLength(1)
  })

  it("waits as long as Retry-After says", async () => {
    vendor.answers = [{ status: 429, headers: { "retry-after": "1" } }, { body: archive(ARCHIVE) }]
    const before = performance.now()
    await ask()
    expect(performance.now() - before).toBeGreaterThanOrEqual(990)
  })

  it("is not repeated before Retry-After, and fails at once if that is too long", async () => {
    vendor.answers = [{ status: 503, headers: { "retry-after": "120" } }]
    const failure = ask({ maxPauseMs: 60_000 })
    await expect(failure).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE", retryAfterMs: 120_000 })
    await expect(failure).rejects.toThrow("120 s")
    expect(requests).toHaveLength(1)
  })

  it("has a time limit", async () => {
    vendor.answers = [{ hang: true }]
    await expect(ask({ timeoutMs: 200, attempts: 2 })).rejects.toThrow("no answer within 0.2 s")
    expect(requests).toHaveLength(2)
  })

  it("gives up an answer that does not end", async () => {
    vendor.answers = [{ endless: true }]
    await expect(ask({ attempts: 1 })).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
      message: "the vendor's answer is over 67108864 bytes",
      remedy: expect.stringContaining("check the base URL"),
    })
  })

  it.each<[string, CannedResponse]>([
    ["is asked", { hang: true }],
    ["waits", { status: 429, headers: { "retry-after": "30" } }],
  ])("ends with the reason of an abort while it %s", async (_, response) => {
    vendor.answers = [response]
    const controller = new AbortController()
    const reason = new Error("enough")
    const asked = ask({}, controller.signal)
    while (requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    controller.abort(reason)
    await expect(asked).rejects.toBe(reason)
  })

  it("says what is wrong when nothing listens", async () => {
    const unused = createServer()
    await new Promise<void>((resolve) => unused.listen(0, "127.0.0.1", resolve))
    const { port } = unused.address() as AddressInfo
    await new Promise((resolve) => unused.close(resolve))
    const asked = ask({ baseUrl: `http://127.0.0.1:${port}`, attempts: 2 })
    await expect(asked).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE", status: null })
    await expect(asked).rejects.toThrow(`127.0.0.1:${port} could not be asked to tell of archive`)
    await expect(asked).rejects.toThrow("ECONNREFUSED")
  })
})
