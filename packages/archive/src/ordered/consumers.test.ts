import { createHash, randomBytes } from "node:crypto"
import { setImmediate as nextTurn } from "node:timers/promises"
import { expect, test } from "vitest"
import type { DecryptedPart } from "../decrypt/part.ts"
import { createOrderedConsumers, createOrderedDigest, type OrderedConsumer } from "./consumers.ts"

const never = new AbortController().signal

const partOf = (plaintext: Uint8Array): DecryptedPart => ({
  ...{ plaintext, crc32: 0, syncErrors: 0, readSeconds: 0, decryptSeconds: 0 },
  ...{ end: new Uint8Array(0), ciphertext: new Uint8Array(0) },
})

/** Records its input slowly, so that an overlap would show. */
function recorder() {
  const seen: string[] = []
  const take = (how: string) => async (part: DecryptedPart | undefined) => {
    seen.push(`begin ${how}`)
    await nextTurn()
    seen.push(`${part?.plaintext[0]}`)
  }
  const consumer: OrderedConsumer = { update: take("update"), end: take("end"), close: () => {} }
  return { seen, consumer }
}

test("every consumer takes the parts in order, whatever order they finish in, and ends with the last", async () => {
  const recorders = [recorder(), recorder()]
  const consumers = createOrderedConsumers(
    recorders.map(({ consumer }) => consumer),
    3,
  )
  await Promise.all([3, 1, 2].map((number) => consumers.take(number, partOf(Uint8Array.of(number)), never)))
  await consumers.end(never)
  for (const { seen } of recorders)
    expect(seen).toEqual(["begin update", "1", "begin update", "2", "begin end", "3"])
})

test("an archive without parts ends its consumers once", async () => {
  const { seen, consumer } = recorder()
  await createOrderedConsumers([consumer], 0).end(never)
  expect(seen).toEqual(["begin end", "undefined"])
})

test("a failure waits until the other consumers have released the part", async () => {
  const { seen, consumer } = recorder()
  const failing: OrderedConsumer = {
    ...consumer,
    update: async () => {
      throw new Error("no room")
    },
  }
  const consumers = createOrderedConsumers([failing, consumer], 2)
  await expect(consumers.take(1, partOf(Uint8Array.of(1)), never)).rejects.toThrow("no room")
  expect(seen).toEqual(["begin update", "1"])
})

test("a part whose turn never comes ends with the signal", async () => {
  const consumers = createOrderedConsumers([recorder().consumer], 3)
  const abort = new AbortController()
  const waiting = consumers.take(2, partOf(Uint8Array.of(2)), abort.signal)
  abort.abort(new Error("part 1 failed"))
  await expect(waiting).rejects.toThrow("part 1 failed")
})

test("a digest taken part by part equals the digest of the whole", async () => {
  const bytes = randomBytes(5_000_000)
  const digest = createOrderedDigest("plaintext")
  const consumers = createOrderedConsumers([digest], 3)
  const pieces = [
    bytes.subarray(0, 2_000_000),
    bytes.subarray(2_000_000, 4_000_000),
    bytes.subarray(4_000_000),
  ]
  expect(digest.hex).toBeUndefined()
  await Promise.all(pieces.map((piece, index) => consumers.take(index + 1, partOf(piece), never)).reverse())
  expect(digest.hex).toBe(createHash("sha256").update(bytes).digest("hex"))
})
