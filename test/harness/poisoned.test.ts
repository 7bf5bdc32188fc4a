import type { ArchiveSource, StoredObject } from "@unseal/archive/store/contract"
import { expect, it } from "vitest"
import { poisoned } from "./poisoned.ts"

const never = new AbortController().signal
const object: StoredObject = { key: "k", size: 6, etag: "1", metadata: {} }

function threeChunks(): ArchiveSource {
  async function* chunks() {
    for (const text of ["ab", "cd", "ef"]) yield Buffer.from(text)
  }
  return {
    stat: async () => object,
    open: async () => ({ object, head: chunks(), close() {} }),
    read: () => chunks(),
  }
}

it.each<[string, () => Promise<AsyncIterable<Uint8Array>>]>([
  ["read", async () => poisoned(threeChunks()).read(object, { start: 0, end: 6 }, never)],
  ["head", async () => (await poisoned(threeChunks()).open("k", 6, never))!.head],
])(
  "gives the chunks of a %s as they are, and makes junk of each when the next is asked for",
  async (_, of) => {
    const kept: Uint8Array[] = []
    const seen: string[] = []
    for await (const chunk of await of()) {
      kept.push(chunk)
      seen.push(Buffer.from(chunk).toString())
    }
    expect(seen.join("")).toBe("abcdef")
    expect(Buffer.concat(kept)).toEqual(Buffer.alloc(6, 0xdb))
  },
)

it("overwrites the chunk at which the loop is left", async () => {
  let last: Uint8Array = new Uint8Array()
  for await (const chunk of poisoned(threeChunks()).read(object, { start: 0, end: 6 }, never)) {
    last = chunk
    break
  }
  expect(Buffer.from(last)).toEqual(Buffer.alloc(2, 0xdb))
})
