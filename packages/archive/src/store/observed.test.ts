import { expect, test } from "vitest"
import { UnsealError } from "../errors.ts"
import type { ArchiveStore, PartWriter } from "./contract.ts"
import { type StoreRequest, withObservedRequests } from "./observed.ts"

const never = new AbortController().signal
const OBJECT = { key: "k", size: 3, etag: "e", metadata: {} }
const unavailable = new UnsealError("ERR_STORE_UNAVAILABLE", "as the test wants")

/** A store with only `methods`, and what is reported about its requests, without their times. */
function observed(methods: Partial<ArchiveStore>) {
  const told: Pick<StoreRequest, "operation" | "outcome">[] = []
  const store = withObservedRequests(methods as ArchiveStore, ({ seconds, ...request }) => {
    expect(seconds).toBeGreaterThanOrEqual(0)
    told.push(request)
  })
  return { store, told }
}
async function* pieces(count: number, end?: Error) {
  for (let piece = 0; piece < count; piece++) yield new Uint8Array(1)
  if (end) throw end
}
const RANGE = { start: 0, end: 3 }

test.each([
  ["an object", async () => OBJECT, "ok"],
  ["no object", async () => null, "missing"],
  ["a refusal", async () => Promise.reject(new UnsealError("ERR_STORE_DENIED", "no")), "denied"],
  ["a refusal for rate", async () => Promise.reject(new UnsealError("ERR_STORE_BUSY", "no")), "busy"],
  ["no answer", async () => Promise.reject(unavailable), "unavailable"],
  ["another version", async () => Promise.reject(new UnsealError("ERR_OBJECT_CHANGED", "no")), "other"],
  ["an error of the program", async () => Promise.reject(new TypeError("no function")), "other"],
] satisfies [string, ArchiveStore["stat"], string][])(
  "a look that gets %s is reported once",
  async (_, stat, outcome) => {
    const { store, told } = observed({ stat })
    await store.stat("k", never).catch(() => {})
    expect(told).toEqual([{ operation: "look", outcome }])
  },
)

test("what the caller has given up is cancelled, whatever it throws then", async () => {
  const { store, told } = observed({ stat: async (_, signal) => Promise.reject(signal.reason) })
  await store.stat("k", AbortSignal.abort(new Error("enough"))).catch(() => {})
  expect(told).toEqual([{ operation: "look", outcome: "cancelled" }])
})

test("a read is reported once, at its end, however it ends; a read that nobody began is not", async () => {
  const read = (bytes: AsyncIterable<Uint8Array>) => observed({ read: () => bytes })
  const whole = read(pieces(3))
  expect(await Array.fromAsync(whole.store.read(OBJECT, RANGE, never))).toHaveLength(3)
  const broken = read(pieces(2, unavailable))
  await expect(Array.fromAsync(broken.store.read(OBJECT, RANGE, never))).rejects.toBe(unavailable)
  const left = read(pieces(3))
  for await (const _ of left.store.read(OBJECT, RANGE, never)) break
  const unread = read(pieces(3))
  await unread.store.read(OBJECT, RANGE, never)[Symbol.asyncIterator]().return?.()
  expect([whole, broken, left, unread].map(({ told }) => told.map(({ outcome }) => outcome))).toEqual([
    ["ok"],
    ["unavailable"],
    ["cancelled"],
    [],
  ])
})

test("an upload's steps are writes and a commit; a writer that sends only at the commit has no others", async () => {
  const part = { size: 1, tag: "t" }
  const writer = (resumable: boolean): PartWriter => ({
    ...{ token: "t", resumable, keepsBodies: !resumable, partSize: 1 },
    written: async () => new Map(),
    writePart: async () => part,
    complete: async () => OBJECT,
    abort: async () => {},
  })
  const options = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const
  for (const [resumable, expected] of [
    [true, ["write", "write", "commit"]],
    [false, ["commit"]],
  ] as const) {
    const { store, told } = observed({ create: async () => writer(resumable) })
    const created = await store.create("k", 1, options, never)
    await created.writePart(1, [new Uint8Array(1)], 0, never)
    await created.complete(new Map([[1, part]]), never)
    expect(told.map(({ operation }) => operation)).toEqual(expected)
  }
})
