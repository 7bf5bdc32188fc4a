import { beforeAll, describe, expect, it } from "vitest"
import type { FaultAction } from "../../../apps/simulator/src/s3/faults/plan.ts"
import { drain, expectSameBytes, readAll, sampleBytes, write, writeParts } from "../suite/bytes.ts"
import { asOpened, server, store } from "../suite/s3-server.ts"
import { never, open, PART, PLAIN } from "../suite/s3-store.ts"

describe("read", () => {
  const bytes = sampleBytes("faulty read", PART + 752)
  const range = { start: 16, end: bytes.length - 16 }
  beforeAll(async () => {
    await write(store, "read.ts", bytes)
  })

  const codeOf = ({ code, status }: FaultAction) =>
    code === "SlowDown" || status === 429 ? "ERR_STORE_BUSY" : "ERR_STORE_UNAVAILABLE"
  const faults: [string, FaultAction][] = [
    ["a body that ends early with a length that hides it", { shortBody: 100_000 }],
    ["a body that ends early in chunks", { shortBody: 100_000, framing: "chunked" }],
    ["a connection that is reset in the body", { resetAfterBytes: 100_000 }],
    ["a connection that is reset before the answer", { reset: true }],
    ["another range than asked for", { wrongContentRange: true }],
    ["the whole object instead of the range", { ignoreRange: true }],
    ["503 SlowDown", { status: 503, code: "SlowDown" }],
    ["500 InternalError", { status: 500 }],
    ["429", { status: 429, code: "TooManyRequests" }],
  ]
  for (const [title, action] of faults) {
    it(`is unavailable on ${title}, and gave no wrong byte before`, async () => {
      const object = await store.stat("read.ts", never)
      server.faults.add({ operation: "GetObject", action })
      let at = range.start
      const reading = async () => {
        for await (const chunk of store.read(object!, range, never)) {
          expectSameBytes(chunk, bytes.subarray(at, at + chunk.length))
          at += chunk.length
        }
      }
      await expect(reading()).rejects.toMatchObject({ code: codeOf(action) })
      expect(at).toBeLessThan(range.end)
    })

    it(`requests only what is missing after ${title}`, async () => {
      const object = await store.stat("read.ts", never)
      server.faults.add({ operation: "GetObject", action, times: 2 })
      const codes: string[] = []
      const retried = asOpened({ onRetry: (code) => codes.push(code) })
      expectSameBytes(
        await drain(retried.read(object!, range, never)),
        bytes.subarray(range.start, range.end),
      )
      expect(codes).toEqual([codeOf(action), codeOf(action)])
      const given = "shortBody" in action ? action.shortBody : 0
      const last = server.operations.entries().findLast((entry) => entry.operation === "GetObject")
      const start = Number(/^bytes=(\d+)-/.exec(last?.range ?? "")?.[1])
      if ("resetAfterBytes" in action) expect(start).toBeGreaterThan(range.start)
      else expect(start).toBe(range.start + 2 * given)
    })
  }

  for (const [title, action] of faults) {
    it(`opens in spite of ${title}, and requests only what is missing`, async () => {
      server.faults.add({ operation: "GetObject", action })
      const retried = asOpened()
      const { object, head } = (await retried.open("read.ts", PART, never))!
      expect(object).toEqual(await store.stat("read.ts", never))
      expectSameBytes(await drain(head), bytes.subarray(0, PART))
      const ranges = server.operations.entries().flatMap(({ range }) => range ?? [])
      expect(ranges).toHaveLength(2)
      const start = "shortBody" in action ? action.shortBody : 0
      if (!("resetAfterBytes" in action)) expect(ranges[1]).toBe(`bytes=${start}-${PART - 1}`)
    })
  }

  it("opens in one request, and leaves its connection to the next", async () => {
    for (let round = 0; round < 3; round++) {
      const { head } = (await store.open("read.ts", PART, never))!
      expectSameBytes(await drain(head), bytes.subarray(0, PART))
    }
    expect(server.operations.entries().map(({ operation }) => operation)).toEqual(Array(3).fill("GetObject"))
  })

  it("finds out with one request that there is nothing to open", async () => {
    expect(await store.open("absent.ts", PART, never)).toBeNull()
    server.operations.clear()
    expect(await store.open("absent.ts", PART, never)).toBeNull()
    expect(server.operations.entries().map(({ operation }) => operation)).toEqual(["GetObject"])
  })

  it("gives up a connection on which nothing moves", async () => {
    const impatient = await open(server.url, {}, 300)
    const object = await impatient.stat("read.ts", never)
    server.faults.add({ operation: "GetObject", action: { hang: true } })
    await expect(drain(impatient.read(object!, range, never))).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
    })
    await impatient.close()
  })

  it("rejects with the reason of an abort while nothing moves", async () => {
    const object = await store.stat("read.ts", never)
    server.faults.add({ operation: "GetObject", action: { hang: true } })
    const reason = new Error("shutting down")
    const controller = new AbortController()
    const reading = drain(store.read(object!, range, controller.signal))
    setTimeout(() => controller.abort(reason), 50)
    await expect(reading).rejects.toBe(reason)
  })
})

describe("an ambiguous answer", () => {
  const applied: [string, FaultAction][] = [
    ["applied, then reset", { applyThenReset: true }],
    ["applied, then 500", { applyThenStatus: 500 }],
    ["applied, then 404", { applyThenStatus: 404 }],
    ["applied, then 409", { applyThenStatus: 409 }],
    ["applied, then 412", { applyThenStatus: 412 }],
    ["applied, then an error in a 200", { applyThenErrorInOk: true }],
  ]
  const lost: [string, FaultAction][] = [
    ["reset before", { reset: true }],
    ["503", { status: 503, code: "ServiceUnavailable" }],
    ["409 ConditionalRequestConflict", { status: 409, code: "ConditionalRequestConflict" }],
    ["an error in a 200", { errorInOk: true }],
  ]
  const forms = [
    { operation: "CompleteMultipartUpload", size: PART + 752 },
    { operation: "PutObject", size: 752 },
  ] as const

  for (const { operation, size } of forms)
    for (const existing of ["fail", "replace"] as const) {
      // The condition makes no difference to how an answer is lost, so two forms without it are enough.
      for (const [title, action] of existing === "fail" ? applied : applied.slice(0, 2))
        it(`of ${operation} counts as done with ${existing}: ${title}`, async () => {
          const key = `settle/${operation}/${existing}/${title}.ts`
          const bytes = sampleBytes(key, size)
          const writer = await store.create(key, size, { ...PLAIN, existing }, never)
          const parts = await writeParts(writer, bytes)
          server.faults.add({ operation, action })
          const object = await writer.complete(parts, never)
          expect(object).toEqual(await store.stat(key, never))
          expect(server.operations.count(operation)).toBe(1)
          expectSameBytes(await readAll(store, key), bytes)
          await writer.abort()
        })

      // Only Complete can answer success with an error in its body.
      const possible = lost.filter(([, { errorInOk }]) => !errorInOk || size > PART)
      for (const [title, action] of existing === "fail" ? possible : possible.slice(0, 2))
        it(`of ${operation} is unavailable with ${existing} and can be repeated: ${title}`, async () => {
          const key = `settle/${operation}/${existing}/${title}.ts`
          const bytes = sampleBytes(key, size)
          const writer = await store.create(key, size, { ...PLAIN, existing }, never)
          const parts = await writeParts(writer, bytes)
          server.faults.add({ operation, action })
          await expect(writer.complete(parts, never)).rejects.toMatchObject({
            code: "ERR_STORE_UNAVAILABLE",
          })
          expect(await store.stat(key, never)).toBeNull()
          await writer.complete(parts, never)
          expectSameBytes(await readAll(store, key), bytes)
        })
    }

  it("does not count as done if another object is there", async () => {
    for (const { operation, size } of forms) {
      const key = `settle/${operation}/foreign.ts`
      const bytes = sampleBytes(key, size)
      const writer = await store.create(key, size, PLAIN, never)
      const parts = await writeParts(writer, bytes)
      await write(store, key, bytes, { metadata: { "unseal-source-etag": "another" } })
      server.faults.add({ operation, action: { reset: true } })
      await expect(writer.complete(parts, never)).rejects.toMatchObject({ code: "ERR_DESTINATION_EXISTS" })
      await writer.abort()
    }
  })

  it("leaves the upload for another try if the destination can't be read back", async () => {
    const bytes = sampleBytes("blind", PART + 752)
    const writer = await store.create("settle/blind.ts", bytes.length, PLAIN, never)
    const parts = await writeParts(writer, bytes)
    server.faults.add({ operation: "CompleteMultipartUpload", action: { applyThenReset: true } })
    server.faults.add({ operation: "HeadObject", after: 1, action: { status: 500, code: "InternalError" } })
    await expect(writer.complete(parts, never)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
    expect(await writer.complete(parts, never)).toMatchObject({ size: bytes.length })
    expectSameBytes(await readAll(store, "settle/blind.ts"), bytes)
  })
})
