/** The S3 adapter on stores that behave differently from S3, with objects of one part and of several. */

import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { RequestLimit } from "@unseal/archive/store/requests/limit"
import { withRequestLimit } from "@unseal/archive/store/requests/limited"
import { withRetries } from "@unseal/archive/store/requests/retry"
import { describe, expect, it } from "vitest"
import type { QuirkName } from "../../../apps/simulator/src/s3/quirks/quirks.ts"
import { drain, expectSameBytes, readAll, sampleBytes, write, writePart } from "../suite/bytes.ts"
import { directory, never, open, open1, PART, raw, roundTrip, SIZES, server } from "../suite/s3-quirks.ts"

const PLAIN = {
  contentType: "video/mp2t",
  metadata: { "unseal-source-etag": "ours" },
  existing: "fail",
} as const

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
