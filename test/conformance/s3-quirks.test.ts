/** The S3 adapter on stores that behave differently from S3, with objects of one part and of several. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { ArchiveStore, OpenedStore } from "@unseal/archive/store/contract"
import { withRequestLimit } from "@unseal/archive/store/limited"
import type { StoreNotice } from "@unseal/archive/store/notices"
import { RequestLimit } from "@unseal/archive/store/request-limit"
import { withRetries } from "@unseal/archive/store/retry"
import { openS3Store } from "@unseal/archive/store/s3/store"
import type { S3StoreUrl } from "@unseal/archive/store/url"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import type { PolicyStatement } from "../../apps/simulator/src/s3/access/policies.ts"
import { type S3Server, startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import type { QuirkName } from "../../apps/simulator/src/s3/quirks/quirks.ts"
import { poisoned } from "../harness/poisoned.ts"
import { drain, expectSameBytes, readAll, sampleBytes, write, writePart } from "./store-suite.ts"

const PART = 6972 * 752
const BUCKET = "archives"
const accessKeyId = "UNSEALTESTACCESSKEY"
const secretAccessKey = "canary-secret-access-key-0123456789abcdef"
const never = new AbortController().signal
const PLAIN = {
  contentType: "video/mp2t",
  metadata: { "unseal-source-etag": "ours" },
  existing: "fail",
} as const
const SIZES = [752, 12 * 1024 * 1024 + 16] as const

let directory: string
let server: S3Server
let raw: OpenedStore
let opened: OpenedStore[] = []
let notices: StoreNotice[]

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-s3-quirks-"))
  server = await startS3Server({ credentials: [{ accessKeyId, secretAccessKey }], buckets: [BUCKET] })
  raw = await open()
  opened = []
})
beforeEach(() => {
  notices = []
})
afterEach(async () => {
  server.quirks.clear()
  server.policies.delete(accessKeyId)
  await Promise.all(opened.map((store) => store.close()))
  opened = []
  for await (const upload of raw.openUploads(never)) await raw.abortUpload(upload, never)
  server.operations.clear()
})
afterAll(async () => {
  await raw?.close()
  await server?.close()
  await rm(directory, { recursive: true })
})

interface Opening {
  readonly url?: Partial<S3StoreUrl>
  readonly env?: Record<string, string>
  /** A profile in the credentials file, used instead. */
  readonly profile?: string
}

/** A store about which nothing is known yet, as in a process that has just started. */
async function open({ url, env = {}, profile }: Opening = {}): Promise<OpenedStore> {
  const adapter = await openS3Store(
    {
      ...{ kind: "s3", bucket: BUCKET, prefix: "", endpoint: server.url, region: "us-east-1" },
      ...(profile && { profile }),
      ...url,
    },
    {
      ...{ partSizeBytes: PART, idleTimeoutMs: 20_000, env },
      ...(profile ? {} : { credentials: { accessKeyId, secretAccessKey } }),
      onNotice: (notice) => notices.push(notice),
    },
  )
  const store = poisoned(adapter)
  opened.push(store)
  return store
}

async function open1(quirk: QuirkName | readonly QuirkName[], opening?: Opening) {
  for (const name of [quirk].flat()) server.quirks.add(name)
  const store = await open(opening)
  return { store, retried: withRetries(store, { baseMs: 1, maxMs: 5 }) }
}

let written = 0
/** Writes, looks and reads, and reads the parts of a resumed upload back, as a decryption does. */
async function roundTrip(store: ArchiveStore, size: number): Promise<void> {
  const key = `round/${written++}.ts`
  const bytes = sampleBytes(key, size)
  expect(await store.stat(key, never)).toBeNull()
  const object = await write(store, key, bytes)
  expect(object).toMatchObject({ key, size })
  expect(await store.stat(key, never)).toEqual(object)
  const { head } = (await store.open(key, 64, never))!
  expectSameBytes(await drain(head), bytes.subarray(0, 64))
  expectSameBytes(await readAll(store, key), bytes)
}

describe("a store that differs from S3 in an irrelevant way", () => {
  const harmless = ["bare-etags", "long-etags", "kms-etags", "equal-parts", "checksums-ignored"] as const
  for (const quirk of harmless)
    for (const size of SIZES)
      it(`is written and read like any other: ${quirk}, ${size} bytes`, async () => {
        const { retried } = await open1(quirk)
        await roundTrip(retried, size)
      })
})

describe("a store that does not accept all of a request", () => {
  const refusing: readonly (readonly QuirkName[])[] = [
    ["no-checksum-501"],
    ["no-checksum-400"],
    ["no-conditions-501"],
    ["no-conditions-400"],
    ["no-checksum-400", "no-conditions-400"],
    ["no-checksum-501", "no-conditions-501"],
    ["no-checksum-400", "no-conditions-501"],
    ["no-checksum-501", "object-lock"],
    ["no-checksum-400", "object-lock"],
    ["complete-412-checksums"],
    ["complete-412-condition"],
    ["complete-412-checksums", "complete-412-condition"],
    ["conditions-ignored"],
    ["object-lock"],
  ]
  const refusals = () =>
    server.operations.count(
      "*",
      // PutObject is written once more under the condition, to find out whether the store honours it.
      ({ operation, status }) => [400, 501].includes(status) || (status === 412 && operation !== "PutObject"),
    )
  for (const quirks of refusing)
    for (const size of SIZES)
      it(`gets less, and this is remembered: ${quirks.join(" and ")}, ${size} bytes`, async () => {
        const { store } = await open1(quirks)
        await roundTrip(store, size)
        const first = refusals()
        expect(first).toBeLessThanOrEqual(5)
        await roundTrip(store, size)
        // PutObject is sent with the condition each time: a store that refused it today may accept it tomorrow.
        expect(refusals() - first).toBeLessThanOrEqual(
          size < PART && quirks.some((quirk) => quirk.startsWith("no-conditions")) ? 1 : 0,
        )
      })

  for (const quirks of refusing)
    for (const size of SIZES)
      it(`is not asked twice for an object to replace: ${quirks.join(" and ")}, ${size} bytes`, async () => {
        const key = `replaced/${quirks.join("-")}-${size}.ts`
        await write(raw, key, sampleBytes("before", 16))
        const { store } = await open1(quirks)
        const bytes = sampleBytes(key, size)
        await write(store, key, bytes, { existing: "replace" })
        expectSameBytes(await readAll(store, key), bytes)
      })

  for (const size of SIZES)
    it(`does not lose another's object to a request without the condition, ${size} bytes`, async () => {
      const { store } = await open1(["complete-412-condition", "no-conditions-501"])
      await roundTrip(store, size)
      const key = `taken/${size}.ts`
      await write(raw, key, sampleBytes("another", size), { metadata: { "unseal-source-etag": "another" } })
      await expect(write(store, key, sampleBytes(key, size))).rejects.toMatchObject({
        code: "ERR_DESTINATION_EXISTS",
      })
      expectSameBytes(await readAll(store, key), sampleBytes("another", size))
    })

  for (const size of SIZES)
    it(`is sent no part that was damaged on its way into the request, ${size} bytes`, async () => {
      const { store } = await open1("no-checksum-501")
      await roundTrip(store, size)
      const writer = await store.create("damaged.ts", size, PLAIN, never)
      const body = sampleBytes("damaged", Math.min(size, writer.partSize))
      await expect(writer.writePart(1, [body], 1, never)).rejects.toMatchObject({
        code: "ERR_STORE_UNAVAILABLE",
        message: expect.stringContaining("it was damaged before it was written"),
      })
      await writer.abort()
    })
})

describe("AWS_REQUEST_CHECKSUM_CALCULATION=when_required", () => {
  const env = { AWS_REQUEST_CHECKSUM_CALCULATION: "when_required" }
  for (const size of SIZES) {
    it(`sends no checksum on any path, ${size} bytes`, async () => {
      const { store } = await open1("no-checksum-501", { env })
      await roundTrip(store, size)
      expect(server.operations.count("*", ({ status }) => status === 501)).toBe(0)
    })

    it(`sends what a bucket with Object Lock demands, and remembers it, ${size} bytes`, async () => {
      const { store } = await open1("object-lock", { env })
      await roundTrip(store, size)
      await roundTrip(store, size)
      // Parts are sent in parallel, so each of the first ones may be refused.
      const refused = server.operations.count("*", ({ code }) => code === "InvalidRequest")
      expect(refused).toBeGreaterThan(0)
      expect(refused).toBeLessThanOrEqual(size < PART ? 1 : 3)
    })
  }

  it("is read from the profile, too", async () => {
    const config = join(directory, "config")
    await writeFile(config, "[profile quiet]\nrequest_checksum_calculation = when_required\n")
    process.env.AWS_CONFIG_FILE = config
    process.env.AWS_PROFILE = "quiet"
    try {
      const { store } = await open1("no-checksum-501")
      await roundTrip(store, SIZES[0])
      expect(server.operations.count("*", ({ status }) => status === 501)).toBe(0)
    } finally {
      delete process.env.AWS_CONFIG_FILE
      delete process.env.AWS_PROFILE
    }
  })
})

describe("credentials that may not list the bucket", () => {
  const allow = (...Action: string[]) => ({
    Effect: "Allow" as const,
    Action,
    Resource: `arn:aws:s3:::${BUCKET}/*`,
  })
  const list = { Effect: "Allow", Action: "s3:ListBucket", Resource: `arn:aws:s3:::${BUCKET}` } as const
  const permit = (...Statement: PolicyStatement[]) => server.policies.set(accessKeyId, { Statement })

  for (const size of SIZES)
    it(`find and write what they may, and report what they can't see, ${size} bytes`, async () => {
      const { store } = await open1("hidden-keys")
      expect(store.missingPermission?.()).toBeNull()
      await roundTrip(store, size)
      expect(await store.open("none.ts", 64, never)).toBeNull()
      expect(store.missingPermission?.()).toBe("s3:ListBucket")
      expect(notices).toContainEqual({ what: "blind" })
    })

  for (const size of SIZES)
    it(`leave another's object as it is, ${size} bytes`, async () => {
      const key = `hidden/${size}.ts`
      const foreign = sampleBytes("foreign", size)
      await write(raw, key, foreign, { metadata: { "unseal-source-etag": "another" } })
      // The object can be neither seen nor read, so only the condition protects it.
      permit(allow("s3:PutObject", "s3:AbortMultipartUpload"))
      server.quirks.add("plain-denials")
      const store = await open()
      await expect(write(store, key, sampleBytes("mine", size))).rejects.toMatchObject({
        code: "ERR_STORE_DENIED",
        message: expect.stringMatching(/answered 412, .*they need s3:GetObject and s3:ListBucket/),
      })
      for (const [quirk, status] of [
        ["no-conditions-501", 501],
        ["no-conditions-400", 400],
      ] as const) {
        server.quirks.add(quirk)
        await expect(write(await open(), key, sampleBytes("mine", size))).rejects.toMatchObject({
          code: "ERR_STORE_DENIED",
          message: expect.stringMatching(`answered ${status}, .*they need s3:GetObject and s3:ListBucket`),
        })
        server.quirks.delete(quirk)
      }
      server.policies.delete(accessKeyId)
      expectSameBytes(await readAll(raw, key), foreign)
    })

  it("try to list the key once in a while, not with each look", async () => {
    const { store } = await open1("hidden-keys")
    for (let i = 0; i < 5; i++) expect(await store.open(`none-${i}.ts`, 1, never)).toBeNull()
    expect(server.operations.count("ListObjectsV2")).toBe(1)
    expect(server.operations.count("GetObject")).toBe(5)
  })

  it("differ from credentials that may not read", async () => {
    await write(raw, "there.ts", sampleBytes("there.ts", 752))
    permit(list)
    server.quirks.add("plain-denials")
    const store = await open()
    for (const look of [() => store.open("there.ts", 1, never), () => store.stat("there.ts", never)])
      await expect(look()).rejects.toMatchObject({
        code: "ERR_STORE_DENIED",
        message: expect.stringMatching(/403 AccessDenied.*this needs the permission s3:GetObject/),
      })
    expect(await store.stat("none.ts", never)).toBeNull()
    expect(store.missingPermission?.()).toBeNull()
  })

  it("differ from credentials that have lost every permission", async () => {
    const store = await open()
    expect(await store.stat("none.ts", never)).toBeNull()
    server.quirks.add("denied")
    await expect(store.open("none.ts", 1, never)).rejects.toMatchObject({ code: "ERR_STORE_DENIED" })
    server.quirks.clear()
    expect(await store.open("none.ts", 1, never)).toBeNull()
  })

  it("differ from wrong credentials", async () => {
    server.quirks.add("hidden-keys")
    const file = join(directory, "wrong")
    await writeFile(file, `[wrong]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = wrong\n`)
    const store = await open({ profile: "wrong", env: { AWS_SHARED_CREDENTIALS_FILE: file } })
    for (const look of [() => store.open("a.ts", 1, never), () => store.stat("a.ts", never)])
      await expect(look()).rejects.toMatchObject({
        code: "ERR_STORE_DENIED",
        message: expect.stringContaining("403 SignatureDoesNotMatch"),
      })
  })

  it("that lose sight of the object later are denied", async () => {
    await write(raw, "seen.ts", sampleBytes("seen.ts", 752))
    const { store } = await open1("hidden-keys")
    const object = (await store.stat("seen.ts", never))!
    server.quirks.add("denied")
    await expect(drain(store.read(object, { start: 0, end: 16 }, never))).rejects.toMatchObject({
      code: "ERR_STORE_DENIED",
    })
  })

  it("learn of it from a store that names the permission", async () => {
    permit(allow("s3:GetObject"))
    const store = await open()
    expect(await store.stat("none.ts", never)).toBeNull()
    expect(store.missingPermission?.()).not.toBeNull()
    expect(server.operations.count("ListObjectsV2")).toBe(0)
    permit(list, allow("s3:PutObject"))
    await expect(store.stat("none.ts", never)).rejects.toMatchObject({
      message: expect.stringContaining("not authorized to perform: s3:GetObject"),
    })
  })
})

describe("answers that identify no version", () => {
  for (const [quirk, words] of [
    ["weak-etags", 'answered with the weak ETag W/"'],
    ["no-etags", "answered without an ETag"],
  ] as const)
    for (const size of SIZES)
      it(`are refused, naming the possible cause: ${quirk}, ${size} bytes`, async () => {
        const key = `weak/${size}.ts`
        await write(raw, key, sampleBytes(key, size), { existing: "replace" })
        const object = (await raw.stat(key, never))!
        const { store } = await open1(quirk)
        const wrong = {
          code: "ERR_STORE_UNAVAILABLE",
          message: expect.stringContaining(`${words}`),
        }
        for (const look of [
          () => store.stat(key, never),
          () => store.open(key, 64, never),
          () => drain(store.read(object, { start: 0, end: 64 }, never)),
        ]) {
          await expect(look()).rejects.toMatchObject(wrong)
          await expect(look()).rejects.toThrow("something between here and the store")
        }
      })

  it("don't make a listing without an end", async () => {
    const writer = await raw.create("endless.ts", SIZES[1], PLAIN, never)
    const bytes = sampleBytes("endless", SIZES[1])
    for (const number of [1, 2]) await writePart(writer, bytes, number)
    const { retried } = await open1("endless-listings")
    const resumed = await retried.create("endless.ts", SIZES[1], { ...PLAIN, token: writer.token }, never)
    await expect(resumed.written(never)).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
      message: expect.stringMatching(/^ListParts of s3:\/\/archives\/endless\.ts does not advance: /),
    })
    await expect(Array.fromAsync(retried.openUploads(never))).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
      message: expect.stringMatching(/^ListMultipartUploads of s3:\/\/archives does not advance: /),
    })
  })
})

describe("a refusal that passes", () => {
  for (const quirk of ["throttled-400", "internal-errors", "redirect-307"] as const)
    for (const size of SIZES)
      it(`is retried by its name, whatever its status: ${quirk}, ${size} bytes`, async () => {
        const store = await open()
        const codes: string[] = []
        await write(raw, "read.ts", sampleBytes("read.ts", 16))
        server.quirks.add(quirk)
        const onRetry = (code: string) => void codes.push(code)
        const limited = withRequestLimit(store, new RequestLimit({ baseMs: 1, maxMs: 5, growMs: 1 }), {
          onRetry,
        })
        const patient = withRetries(limited, { ...{ baseMs: 1, maxMs: 5, attempts: 12 }, onRetry })
        for (let i = 0; i < (size < PART ? 12 : 4); i++) {
          await roundTrip(patient, size)
          // Shifts the count, so that not the same request of each round is the seventh.
          await drain((await patient.open("read.ts", 16, never))!.head)
        }
        expect(codes.length).toBeGreaterThan(2)
        if (quirk === "throttled-400") expect(codes).toContain("ERR_STORE_BUSY")
      })

  it.each([
    ["at the look at the bucket alone", 0],
    ["at the listing as well", 1],
  ])("is known by its name %s, which an answer to HEAD does not have", async (_, times) => {
    const store = await open()
    const action = { status: 400, code: "RequestLimitExceeded" }
    server.faults.add({ operation: "HeadBucket", action })
    if (times > 0) server.faults.add({ operation: "ListObjectsV2", action, times })
    const codes: string[] = []
    const patient = withRequestLimit(store, new RequestLimit({ baseMs: 1, maxMs: 5, growMs: 1 }), {
      onRetry: (code) => void codes.push(code),
    })
    expect(await patient.stat("missing.ts", never)).toBeNull()
    expect(codes).toEqual(Array.from({ length: times }, () => "ERR_STORE_BUSY"))
  })

  it("is named if it is a redirect", async () => {
    const { store } = await open1("redirect-307")
    await expect(store.open("a.ts", 1, never)).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
      message: expect.stringContaining("answered 307 TemporaryRedirect"),
    })
  })
})

describe("an archived object", () => {
  for (const size of SIZES)
    it(`is reported with its storage class, ${size} bytes`, async () => {
      const key = `archived/${size}.ts`
      await write(raw, key, sampleBytes(key, size))
      const { retried } = await open1("archived")
      const archived = {
        code: "ERR_OBJECT_ARCHIVED",
        message: expect.stringMatching(
          /^s3:\/\/archives\/archived\/\d+\.ts is in the storage class GLACIER /,
        ),
      }
      await expect(retried.open(key, 64, never)).rejects.toMatchObject(archived)
      const object = (await retried.stat(key, never))!
      await expect(drain(retried.read(object, { start: 16, end: 64 }, never))).rejects.toMatchObject(archived)
    })
})

describe("a store with another clock", () => {
  for (const [quirk, seconds] of [
    ["clock-ahead", 3600],
    ["clock-behind", -3600],
  ] as const)
    for (const size of SIZES)
      it(`gets signatures by its own time, after one refusal: ${quirk}, ${size} bytes`, async () => {
        const { store } = await open1(quirk)
        await roundTrip(store, size)
        expect(server.operations.count("*", ({ code }) => code === "RequestTimeTooSkewed")).toBe(
          // The first look's, and that of the request for its name.
          2,
        )
        expect(notices).toEqual([{ what: "clock-skew", seconds: expect.any(Number) }])
        const [notice] = notices
        expect(notice?.what === "clock-skew" && Math.abs(notice.seconds - seconds)).toBeLessThan(30)
      })

  it("is followed when it is corrected", async () => {
    const { store } = await open1("clock-ahead")
    await store.stat("a.ts", never)
    server.quirks.clear()
    expect(await store.stat("a.ts", never)).toBeNull()
    expect(notices).toHaveLength(2)
    expect(notices[1]).toMatchObject({ what: "clock-skew" })
    expect(notices[1]?.what === "clock-skew" && Math.abs(notices[1].seconds)).toBeLessThan(30)
  })

  it("is learned from one of the SDK's calls for the others", async () => {
    const { store } = await open1("clock-ahead")
    for await (const upload of store.openUploads(never)) throw new Error(`unexpected ${upload.token}`)
    await roundTrip(store, SIZES[1])
    expect(server.operations.count("*", ({ code }) => code === "RequestTimeTooSkewed")).toBe(1)
  })
})

describe("a bucket in another region", () => {
  for (const quirk of ["other-region-301", "other-region-400"] as const)
    for (const size of SIZES)
      it(`is followed there, once: ${quirk}, ${size} bytes`, async () => {
        const { store } = await open1(quirk)
        await roundTrip(store, size)
        await roundTrip(store, size)
        const refused = server.operations.count("*", ({ status }) => status === 301 || status === 400)
        expect(refused).toBeLessThanOrEqual(2)
        expect(notices).toEqual([{ what: "other-region", region: "eu-central-1" }])
      })

  it("is followed by requests already in flight when it was learned", async () => {
    const { store } = await open1("other-region-400")
    const looks = Array.from({ length: 8 }, (_, i) => store.open(`none-${i}.ts`, 1, never))
    expect(await Promise.all(looks)).toEqual(Array(8).fill(null))
    expect(notices).toHaveLength(1)
  })

  it("is followed by the SDK's calls, too", async () => {
    const { store } = await open1("other-region-400")
    for await (const upload of store.openUploads(never)) throw new Error(`unexpected ${upload.token}`)
    expect(notices).toEqual([{ what: "other-region", region: "eu-central-1" }])
  })

  it("is followed together with another clock", async () => {
    const { store } = await open1(["other-region-301", "clock-behind"])
    await roundTrip(store, SIZES[0])
    expect(notices.map(({ what }) => what).sort()).toEqual(["clock-skew", "other-region"])
  })
})

describe("expired credentials", () => {
  /** A credentials file whose only profile runs a command, as is common. Counts the command's runs. */
  async function credentialProcess(name: string) {
    const [file, answer, runs] = ["ini", "json", "runs"].map((end) => join(directory, `${name}.${end}`))
    await writeFile(file!, `[right]\ncredential_process = sh -c 'echo >> ${runs} && cat ${answer}'\n`)
    await writeFile(runs!, "")
    return {
      opening: { profile: "right", env: { AWS_SHARED_CREDENTIALS_FILE: file! } },
      runs: async () => (await readFile(runs!)).length,
      give: (AccessKeyId: string) =>
        writeFile(answer!, JSON.stringify({ Version: 1, AccessKeyId, SecretAccessKey: secretAccessKey })),
    }
  }

  for (const size of SIZES)
    it(`are renewed once for all requests, ${size} bytes`, async () => {
      const { opening, give, runs } = await credentialProcess(`process-${size}`)
      await give("OLDACCESSKEY")
      server.quirks.add("expired-token")
      const store = await open(opening)
      await expect(store.stat("a.ts", never)).rejects.toMatchObject({
        code: "ERR_STORE_DENIED",
        message: expect.stringMatching(/answered 400 ExpiredToken: .*whoever issues them must renew them/),
      })
      expect(await runs()).toBe(2)
      await give(accessKeyId)
      const looks = Array.from({ length: 8 }, (_, i) => store.open(`none-${i}.ts`, 1, never))
      expect(await Promise.all(looks)).toEqual(Array(8).fill(null))
      await roundTrip(store, size)
      expect(await runs()).toBe(3)
    })

  it("are read again from a changed file", async () => {
    const file = join(directory, "credentials")
    const profile = (id: string) =>
      `[right]\naws_access_key_id = ${id}\naws_secret_access_key = ${secretAccessKey}\n`
    await writeFile(file, profile("OLDACCESSKEY"))
    const store = await open({ profile: "right", env: { AWS_SHARED_CREDENTIALS_FILE: file } })
    await expect(store.stat("a.ts", never)).rejects.toMatchObject({
      code: "ERR_STORE_DENIED",
      message: expect.stringContaining("InvalidAccessKeyId"),
    })
    await writeFile(file, profile(accessKeyId))
    expect(await store.stat("a.ts", never)).toBeNull()
    for await (const upload of store.openUploads(never)) throw new Error(`unexpected ${upload.token}`)
  })

  it("name the profile that does not exist", async () => {
    const nobody = await open({
      profile: "nobody",
      env: { AWS_SHARED_CREDENTIALS_FILE: join(directory, "none") },
    })
    await expect(nobody.stat("a.ts", never)).rejects.toMatchObject({
      code: "ERR_STORE_DENIED",
      message: expect.stringMatching(/^no usable credentials for s3:\/\/archives\/a\.ts: .*\[nobody\]/),
    })
  })
})
