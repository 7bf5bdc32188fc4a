/** The Azure adapter with unusual answers of an account or of a proxy, for objects of one part and of several. */
import { randomUUID } from "node:crypto"
import type { OpenedStore } from "@unseal/archive/store/contract"
import type { StoreNotice } from "@unseal/archive/store/notices"
import { openStore } from "@unseal/archive/store/open"
import { RequestLimit } from "@unseal/archive/store/requests/limit"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import {
  type Exchange,
  type FaultyProxy,
  type ProxiedResponse,
  startFaultyProxy,
} from "../../harness/network/faulty-proxy.ts"
import { poisoned } from "../../harness/poisoned.ts"
import { createRawContainer, type RawContainer } from "../../harness/stores/azure-rest.ts"
import { type Azurite, startAzurite } from "../../harness/stores/azurite.ts"
import { drain, expectSameBytes, readAll, sampleBytes, write } from "../suite/bytes.ts"

const PART = 349 * 752
const SIZES = [752, 3 * PART + 752] as const
const never = new AbortController().signal

let azurite: Azurite
let raw: RawContainer
let proxy: FaultyProxy
let opened: OpenedStore[] = []
let notices: StoreNotice[] = []
let retried: string[] = []
beforeAll(async () => {
  azurite = await startAzurite()
  raw = await createRawContainer(azurite, `answers-${randomUUID()}`)
  proxy = await startFaultyProxy(azurite.url)
})
afterEach(async () => {
  proxy.honest()
  for (const store of opened) await store.close()
  ;[opened, notices, retried] = [[], [], []]
})
afterAll(async () => {
  await proxy?.close()
  await azurite?.close()
})

/** Opens the store as a process does, with the request layer. */
async function open(limit = new RequestLimit()): Promise<OpenedStore> {
  const query = new URLSearchParams({ endpoint: `${proxy.url}/${azurite.account}` })
  const store = await openStore(`azure://${raw.name}/some/prefix?${query}`, {
    ...{ partSizeBytes: PART, env: { AZURE_STORAGE_KEY: azurite.key }, limit },
    onNotice: (notice) => notices.push(notice),
    onRetry: (code) => retried.push(code),
  })
  opened.push(store)
  return poisoned(store)
}

const refuse = (exchange: Exchange, status: number, code: string, headers: ProxiedResponse["headers"] = {}) =>
  exchange.respond({ status, headers: { "x-ms-error-code": code, ...headers }, body: Buffer.alloc(0) })

async function roundTrip(store: OpenedStore, size: number): Promise<void> {
  const key = `${randomUUID()}.ts`
  const bytes = sampleBytes(key, size)
  expect(await store.stat(key, never)).toBeNull()
  expect(await write(store, key, bytes)).toMatchObject({ key, size })
  expectSameBytes(await readAll(store, key), bytes)
  expectSameBytes((await raw.get(`some/prefix/${key}`))!.bytes, bytes)
}

describe("an account with another clock", () => {
  let refusals = 0
  /** Refuses everything that is signed for a time more than 15 minutes from its own. */
  const clockAhead = (aheadMs: number) => {
    refusals = 0
    proxy.fault(async (exchange) => {
      const date = new Date(Date.now() + aheadMs)
      const signed = Date.parse(exchange.headers["x-ms-date"] as string)
      const skewMs = Math.abs(signed - date.getTime())
      if (!(skewMs > 15 * 60_000)) return exchange.respond(await exchange.forward())
      refusals++
      refuse(exchange, 403, "AuthenticationFailed", { date: date.toUTCString() })
    })
  }

  for (const seconds of [3600, -3600])
    for (const size of SIZES)
      it(`gets signatures by its own time, after one refusal: ${seconds} s, ${size} bytes`, async () => {
        clockAhead(seconds * 1000)
        const store = await open()
        await roundTrip(store, size)
        expect(refusals).toBe(1)
        expect(retried).toEqual([])
        expect(notices).toEqual([{ what: "clock-skew", seconds: expect.any(Number) }])
        const [notice] = notices
        expect(notice?.what === "clock-skew" && Math.abs(notice.seconds - seconds)).toBeLessThan(30)
      })

  it("is followed when it is corrected, and by requests already in flight", async () => {
    clockAhead(3_600_000)
    const store = await open()
    await Promise.all(Array.from({ length: 8 }, () => store.stat("none.ts", never)))
    expect(notices).toHaveLength(1)
    clockAhead(0)
    expect(await store.stat("none.ts", never)).toBeNull()
    expect(notices).toHaveLength(2)
    expect(notices[1]?.what === "clock-skew" && Math.abs(notices[1].seconds)).toBeLessThan(30)
  })

  it("that refuses its own time, too, is reported", async () => {
    proxy.fault((exchange) =>
      refuse(exchange, 403, "AuthenticationFailed", { date: new Date(Date.now() + 3_600_000).toUTCString() }),
    )
    await expect((await open()).stat("none.ts", never)).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
      message: expect.stringMatching(/the store's clock is 3\d{3} s ahead of this machine's/),
    })
  })
})

describe("an account that slows its clients down", () => {
  for (const [status, code, headers] of [
    [503, "ServerBusy", {}],
    [503, "ServerBusy", { "retry-after": "1" }],
    [429, "TooManyRequests", {}],
  ] as const)
    for (const size of SIZES)
      it(`gets what it accepts, however it says that: ${status} ${JSON.stringify(headers)}, ${size} bytes`, async () => {
        let underWay = 0
        let refused = 0
        proxy.fault(async (exchange) => {
          if (underWay >= 2) {
            refused++
            return refuse(exchange, status, code, headers)
          }
          underWay++
          const response = await exchange.forward().finally(() => underWay--)
          exchange.respond(response)
        })
        const store = await open(new RequestLimit({ baseMs: 1, maxMs: 20, growMs: 20 }))
        await Promise.all(Array.from({ length: 4 }, () => roundTrip(store, size)))
        expect(refused).toBeGreaterThan(0)
        expect(new Set(retried)).toEqual(new Set(["ERR_STORE_BUSY"]))
      })
})

describe("a lone refusal among successful answers", () => {
  const code = "AuthorizationFailure"
  for (const size of SIZES)
    it(`is retried, ${size} bytes`, async () => {
      let requests = 0
      proxy.fault(async (exchange) => {
        if (++requests % 7 === 0) return refuse(exchange, 403, code)
        exchange.respond(await exchange.forward())
      })
      const store = await open()
      for (let round = 0; round < 3; round++) await roundTrip(store, size)
      expect(retried).toContain("ERR_STORE_DENIED")
    })
})

describe("a proxy that compresses", () => {
  for (const size of SIZES)
    it(`is named as a possible cause of changed validators, ${size} bytes`, async () => {
      const key = `weak-${size}.ts`
      await raw.put(`some/prefix/${key}`, sampleBytes(key, size))
      const store = await open()
      const object = (await store.stat(key, never))!
      proxy.fault(async (exchange) => {
        const response = await exchange.forward()
        exchange.respond({
          ...response,
          headers: { ...response.headers, etag: `W/${response.headers.etag}` },
        })
      })
      for (const look of [
        () => store.stat(key, never),
        () => store.open(key, 64, never),
        () => drain(store.read(object, { start: 0, end: 64 }, never)),
      ])
        await expect(look()).rejects.toMatchObject({
          code: "ERR_STORE_UNAVAILABLE",
          message: expect.stringMatching(/the weak ETag W\/.*something between here and the store/),
        })
    })
})
