import type { OpenedKeyRing } from "@unseal/archive/keys/contract"
import type { OpenedStore, PartWriter } from "@unseal/archive/store/contract"
import { expect, test, vi } from "vitest"
import { opening, sided, sidedKeys } from "./sides.ts"

const never = new AbortController().signal
const object = { key: "k", size: 16, etag: "1", metadata: {} }
const plain = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const

/** A destination whose parts are kept in memory until the commit, or sent at once. */
function storeOf(resumable: boolean): OpenedStore {
  const writer: PartWriter = {
    ...{ token: "t", resumable, keepsBodies: false, partSize: 16 },
    written: async () => new Map(),
    writePart: async () => ({ size: 16, tag: "1" }),
    complete: async () => ({ key: "k", size: 16, etag: "1", metadata: {} }),
    async abort() {},
  }
  return { location: "memory://", create: async () => writer } as unknown as OpenedStore
}

test.each([
  ["sent", true, ["destination", "destination"]],
  ["kept for the commit", false, ["destination"]],
])(
  "a part that is %s is a sign of life of its store only if it was sent; the commit always is",
  async (_, resumable, expected) => {
    const worked: string[] = []
    const store = sided(storeOf(resumable), "destination", {
      worked: (side) => void worked.push(side),
      waits() {},
      isSuspended: () => false,
    })
    const writer = await store.create("k", 16, plain, never)
    await writer.writePart(1, [new Uint8Array(16)], 0, never)
    await writer.complete(new Map([[1, { size: 16, tag: "1" }]]), never)
    expect(worked).toEqual(expected)
  },
)

test("keys have worked when their directory was last read: a cached ring proves nothing about now", async () => {
  const keyRing = { unwrap: async () => ({}), lookedAt: () => 1_000 } as unknown as OpenedKeyRing
  const worked: unknown[] = []
  const reports = {
    worked: (...told: unknown[]) => void worked.push(told),
    waits() {},
    isSuspended: () => false,
  }
  await sidedKeys(keyRing, reports).unwrap(new Uint8Array(), never)
  expect(worked).toEqual([["keys", 1_000]])
})

test("keys are read again while their project is suspended for them, so that a success ends that at once", async () => {
  let readAt = 1_000
  const keyRing = {
    unwrap: async () => ({}),
    async refresh() {
      readAt = 2_000
    },
    lookedAt: () => readAt,
  } as unknown as OpenedKeyRing
  const worked: unknown[] = []
  const reports = {
    worked: (...told: unknown[]) => void worked.push(told),
    waits() {},
    isSuspended: () => true,
  }
  await sidedKeys(keyRing, reports).unwrap(new Uint8Array(), never)
  expect(worked).toEqual([["keys", 2_000]])
})

/** A store that accepts everything and answers nothing, and notices an abort only where it gets a signal. */
function deaf(): OpenedStore {
  const unanswered = (signal?: AbortSignal) =>
    new Promise<never>((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)))
  const writer: PartWriter = {
    ...{ token: "t", resumable: true, keepsBodies: false, partSize: 16 },
    written: unanswered,
    writePart: (_number, _body, _crc32, signal) => unanswered(signal),
    complete: (_parts, signal) => unanswered(signal),
    abort: () => unanswered(),
  }
  return {
    location: "memory://",
    create: async (key: string) => (key === "k" ? writer : unanswered()),
    stat: (_key: string, signal: AbortSignal) => unanswered(signal),
    open: (_key: string, _length: number, signal: AbortSignal) => unanswered(signal),
    async *read(_object: unknown, _range: unknown, signal: AbortSignal) {
      yield await unanswered(signal)
    },
    abortUpload: (_upload: unknown, signal: AbortSignal) => unanswered(signal),
    remove: (_key: string, signal: AbortSignal) => unanswered(signal),
  } as unknown as OpenedStore
}

type Waiting = (store: OpenedStore, writer: PartWriter) => Promise<unknown>

test.each<[string, Waiting]>([
  ["stat", (store) => store.stat("k", never)],
  ["open", (store) => store.open("k", 16, never)],
  ["read", (store) => Array.fromAsync(store.read(object, { start: 0, end: 16 }, never))],
  ["written", (_, writer) => writer.written(never)],
  ["writePart", (_, writer) => writer.writePart(1, [new Uint8Array(16)], 0, never)],
  ["complete", (_, writer) => writer.complete(new Map(), never)],
  ["abort", (_, writer) => writer.abort()],
  ["abortUpload", (store) => store.abortUpload({ key: "k", token: "t", startedAt: new Date() }, never)],
  ["remove", (store) => store.remove("k", never)],
])("%s of a store that answers nothing ends within 20 s, as trouble of its side", async (_, wait) => {
  vi.useFakeTimers()
  try {
    const store = sided(deaf(), "destination", { worked() {}, waits() {}, isSuspended: () => false })
    const waiting = wait(store, await store.create("k", 16, plain, never)).catch((error: unknown) => error)
    await vi.advanceTimersByTimeAsync(21_000)
    expect(await Promise.race([waiting, "still waiting"])).toMatchObject({
      ...{ code: "ERR_STORE_UNAVAILABLE", side: "destination" },
    })
  } finally {
    vi.useRealTimers()
  }
})

test.each([
  ["keys", "ERR_KEY_SERVICE_UNAVAILABLE"],
  ["destination", "ERR_STORE_UNAVAILABLE"],
] as const)("%s that do not open end the wait within 20 s", async (side, code) => {
  vi.useFakeTimers()
  try {
    const waiting = opening(side, "it", new Promise(() => {})).catch((error: unknown) => error)
    await vi.advanceTimersByTimeAsync(21_000)
    expect(await Promise.race([waiting, "still waiting"])).toMatchObject({ code, side })
  } finally {
    vi.useRealTimers()
  }
})
