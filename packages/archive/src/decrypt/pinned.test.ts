import { expect, test } from "vitest"
import { poisoned } from "../../../../test/harness/poisoned.ts"
import type { ArchiveSource } from "../store/contract.ts"
import { copied } from "../store/small-object.ts"
import { pinArchive } from "./pinned.ts"

const bytes = Uint8Array.from({ length: 100 }, (_, index) => index)
const object = { key: "b", size: bytes.length, etag: "1", metadata: {} }
const never = new AbortController().signal

/** A source of one object, under `b`, that records its calls. */
function source() {
  const calls: string[] = []
  async function* pieces(name: string, start: number, end: number) {
    calls.push(`${name} ${start}-${end}`)
    for (let at = start; at < end; at += 7) yield bytes.slice(at, Math.min(end, at + 7))
  }
  const store: ArchiveSource = {
    async stat() {
      throw new Error("nobody needs it")
    },
    async open(key, length) {
      calls.push(`open ${key}`)
      if (key !== object.key) return null
      return { object, head: pieces("head", 0, Math.min(length, 100)), close: () => calls.push("close") }
    },
    read: (_, { start, end }) => pieces("read", start, end),
  }
  return { store: poisoned(store), calls }
}

const collect = async (pieces: AsyncIterable<Uint8Array>) =>
  Buffer.concat(await Array.fromAsync(copied(pieces)))

test("the first key that holds an archive is used", async () => {
  const { store, calls } = source()
  expect((await pinArchive(store, ["a", "b", "c"], 32, never)).object).toBe(object)
  expect(calls).toEqual(["open a", "open b"])
  await expect(pinArchive(store, ["a", "c"], 32, never)).rejects.toMatchObject({
    code: "ERR_OBJECT_NOT_FOUND",
    message: "no object under a or c",
  })
})

test("if nothing may be seen, the message says why", async () => {
  const { store } = source()
  const blind = { ...store, missingPermission: () => "s3:ListBucket" }
  await expect(pinArchive(blind, ["a", "c"], 32, never)).rejects.toMatchObject({
    code: "ERR_OBJECT_NOT_FOUND",
    message:
      "no object under a or c, or the credentials can't see it: they lack the permission s3:ListBucket",
    remedy: expect.stringMatching(/^give the credentials the permission s3:ListBucket /),
  })
})

test.each([
  ["as long as what is there", 32, ["head 0-32"]],
  ["longer", 80, ["head 0-32", "read 32-80"]],
  ["shorter", 16, ["read 0-16"]],
])("a first read that is %s gives its bytes, each asked for once", async (_, end, expected) => {
  const { store, calls } = source()
  const archive = await pinArchive(store, ["b"], 32, never)
  calls.length = 0
  expect(await collect(archive.read({ start: 0, end }, never))).toEqual(Buffer.from(bytes.subarray(0, end)))
  expect(calls).toEqual(expected)
})

test("a second read, or one from elsewhere than the beginning, makes a request", async () => {
  const { store, calls } = source()
  const archive = await pinArchive(store, ["b"], 1000, never)
  for (const start of [84, 0, 0])
    expect(await collect(archive.read({ start, end: 100 }, never))).toEqual(
      Buffer.from(bytes.subarray(start)),
    )
  expect(calls).toEqual(["open b", "read 84-100", "head 0-100", "read 0-100"])
})

test("only an unread head is released, and nothing after that", async () => {
  const { store, calls } = source()
  const unread = await pinArchive(store, ["b"], 32, never)
  unread.close()
  unread.close()
  expect(await collect(unread.read({ start: 0, end: 32 }, never))).toHaveLength(32)
  expect(calls).toEqual(["open b", "close", "read 0-32"])

  calls.length = 0
  const read = await pinArchive(store, ["b"], 32, never)
  await collect(read.read({ start: 0, end: 32 }, never))
  read.close()
  expect(calls).toEqual(["open b", "head 0-32"])
})

test("a read also ends with its own signal", async () => {
  const { store } = source()
  const archive = await pinArchive(store, ["b"], 32, never)
  const reason = new Error("another part failed")
  const controller = new AbortController()
  const reading = async () => {
    for await (const _ of archive.read({ start: 0, end: 32 }, controller.signal)) controller.abort(reason)
  }
  await expect(reading()).rejects.toBe(reason)
})
