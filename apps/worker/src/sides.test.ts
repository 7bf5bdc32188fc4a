import type { OpenedKeyRing } from "@unseal/archive/keys/contract"
import type { OpenedStore } from "@unseal/archive/store/adapter"
import type { PartWriter } from "@unseal/archive/store/contract"
import { expect, test } from "vitest"
import { sided, sidedKeys } from "./sides.ts"

const never = new AbortController().signal
const plain = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const

/** A destination whose parts are kept in memory until the commit, or sent at once. */
function storeOf(resumable: boolean): OpenedStore {
  const writer: PartWriter = {
    ...{ token: "t", resumable, partSize: 16 },
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
    const store = sided(storeOf(resumable), "destination", (side) => worked.push(side))
    const writer = await store.create("k", 16, plain, never)
    await writer.writePart(1, [new Uint8Array(16)], 0, never)
    await writer.complete(new Map([[1, { size: 16, tag: "1" }]]), never)
    expect(worked).toEqual(expected)
  },
)

test("keys have worked when their directory was last read: a ring that is kept tells nothing of now", async () => {
  const keyRing = { unwrap: async () => ({}), lookedAt: () => 1_000 } as unknown as OpenedKeyRing
  const worked: unknown[] = []
  await sidedKeys(keyRing, (side, since) => worked.push([side, since])).unwrap(new Uint8Array(), never)
  expect(worked).toEqual([["keys", 1_000]])
})
