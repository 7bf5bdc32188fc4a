import { createHash } from "node:crypto"
import { once } from "node:events"
import { setImmediate as nextTurn } from "node:timers/promises"
import type { Worker } from "node:worker_threads"
import { crc32 } from "node:zlib"
import { expect, test } from "vitest"
import { UnsealError } from "../errors.ts"
import { aes256Cbc } from "../format/cbc.ts"
import { planParts } from "../format/part-plan.ts"
import { type Part, rangeSize } from "../format/parts.ts"
import { Held } from "../held.ts"
import { createOrderedDigest } from "../ordered/consumers.ts"
import { createThreadHash } from "../ordered/hash-thread.ts"
import type { PartWriter } from "../store/contract.ts"
import { createByteBudget } from "./budget.ts"
import type { PartReceipt } from "./checkpoint.ts"
import type { DecryptedPart } from "./part.ts"
import { decryptHead, type Transfer, transferParts } from "./parts.ts"

const MIB = 1024 * 1024
const never = new AbortController().signal
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

/** Each byte of a part is its number. */
async function decrypt(part: Part, memory: Uint8Array, signal: AbortSignal): Promise<DecryptedPart> {
  await nextTurn()
  signal.throwIfAborted()
  const plaintext = memory.subarray(0, rangeSize(part.plaintext)).fill(part.number)
  return {
    plaintext,
    crc32: crc32(plaintext),
    syncErrors: 0,
    end: Uint8Array.from(plaintext.subarray(-16)),
    ciphertext: new Uint8Array(0),
    readSeconds: 0,
    decryptSeconds: 0,
  }
}

const writing = (writePart: PartWriter["writePart"]): PartWriter => ({
  ...{ token: "t", resumable: true, keepsBodies: false, partSize: 0, writePart },
  written: async () => new Map(),
  complete: async () => ({ key: "k", size: 0, etag: "e", metadata: {} }),
  abort: async () => {},
})

const transfer = (size: number, partSize: number, more: Partial<Transfer>): Transfer => ({
  plan: planParts(aes256Cbc, size, size, partSize),
  plaintextSize: size,
  decrypt,
  writer: undefined,
  trusted: new Map(),
  head: undefined,
  consumers: [createOrderedDigest("plaintext")],
  held: new Held(),
  budget: createByteBudget(16 * MIB),
  observe: {},
  onWritten: async () => {},
  ...more,
})

test("memory is given back only when the store has released it, too", async () => {
  const hashThread = once(process, "worker")
  const budget = createByteBudget(2 * MIB)
  const [asked, sent] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let isSent = false
  const slow = writing(async () => {
    asked.resolve()
    await sent.promise
    isSent = true
    return { size: 2 * MIB, tag: "t" }
  })
  const running = transferParts(transfer(2 * MIB, 2 * MIB, { budget, writer: slow }), never)
  const failed = expect(running).rejects.toThrow("the hashing thread ended")
  const lent = budget.acquire(2 * MIB, never).then(() => isSent)
  await asked.promise
  const [thread] = (await hashThread) as [Worker]
  await thread.terminate()
  for (let turn = 0; turn < 20; turn++) await nextTurn()
  sent.resolve()
  await failed
  expect(await lent).toBe(true)
}, 120_000)

test.each([1, 3])(
  "memory that an abandoned write of %s parts still reads is lent to nobody else",
  async (count) => {
    const budget = createByteBudget(count * MIB)
    const hung: Uint8Array[] = []
    const stop = new AbortController()
    const hanging = writing(async (_number, [body]) => {
      hung.push(body!)
      if (hung.length === count) stop.abort(new Error("silent"))
      await new Promise((_, reject) => {
        if (stop.signal.aborted) reject(stop.signal.reason)
        stop.signal.addEventListener("abort", () => reject(stop.signal.reason))
      })
      return { size: 0, tag: "" }
    })
    const given = transferParts(transfer(count * MIB, MIB, { budget, writer: hanging }), stop.signal)
    await expect(given).rejects.toThrow("silent")

    const memory = await Promise.all(Array.from({ length: count }, () => budget.acquire(MIB, never)))
    for (const { bytes } of memory) bytes.fill(0xff)
    expect(hung.map((body) => [body[0], body.at(-1)])).toEqual(hung.map((_, index) => [index + 1, index + 1]))
    expect(budget.holders).toBe(count)
  },
)

test.each([true, false])(
  "memory is in use for as long as the writer keeps bodies (%s): until the run has ended, or its part is written",
  async (keepsBodies) => {
    const budget = createByteBudget(3 * MIB)
    const writer = { ...writing(async () => ({ size: MIB, tag: "t" })), keepsBodies }
    const running = transfer(3 * MIB, MIB, { budget, writer })
    const head = await decryptHead(running, never)
    await transferParts({ ...running, head }, never)
    expect(budget.holders).toBe(keepsBodies ? 3 : 0)
    running.held[Symbol.dispose]()
    expect(budget.holders).toBe(0)
  },
)

test("the memory of a first part that can't be decrypted is given back with the run's", async () => {
  const budget = createByteBudget(3 * MIB)
  const running = transfer(3 * MIB, MIB, {
    budget,
    async decrypt() {
      throw new UnsealError("ERR_NOT_MPEG_TS", "no packets")
    },
  })
  await expect(decryptHead(running, never)).rejects.toThrow("no packets")
  running.held[Symbol.dispose]()
  expect(budget.holders).toBe(0)
})

test("a failed write costs other archives neither their digests nor the budget", async () => {
  const budget = createByteBudget(16 * MIB)
  const denied = new UnsealError("ERR_STORE_DENIED", "answered 403")
  for (let round = 0; round < 20; round++) {
    // Another archive occupies the thread's slots, so that the first part is waiting for one when its write fails.
    const busy = createThreadHash()
    const taken = Array.from({ length: 3 }, () => busy.update(Buffer.alloc(16 * MIB)))
    const refused = Promise.withResolvers<void>()
    const refusing = writing(async () => {
      await nextTurn()
      refused.resolve()
      throw denied
    })
    // The second part is slow to stop, which keeps the archive and its hash busy meanwhile.
    const stopped = Promise.withResolvers<void>()
    const slowly: typeof decrypt = async (part, memory) => {
      if (part.number > 1) await stopped.promise
      return decrypt(part, memory, never)
    }
    const running = transferParts(
      transfer(10 * MIB, 5 * MIB, { budget, writer: refusing, decrypt: slowly }),
      never,
    )
    running.catch(() => {})
    await refused.promise
    // A larger part displaces the used memory, which no longer exists then.
    const other = await budget.acquire(11 * MIB, never)
    expect(other.bytes.length).toBe(11 * MIB)
    await Promise.all(taken)
    other.release()
    stopped.resolve()
    await expect(running).rejects.toBe(denied)
  }
  expect(budget.holders).toBe(0)
  const all = Buffer.alloc(12 * MIB, 7)
  expect(await createThreadHash().digest(all)).toBe(sha256(all))
}, 120_000)

test("if parts fail before others have asked for their turn, all of them end", async () => {
  const receipt = (number: number): [number, PartReceipt] => [
    number,
    { size: 16, crc32: 0, syncErrors: 0, tag: "t" },
  ]
  // Trusted parts are only read again, so only the hash waits. 2 fails and 3 asks in the same turn of the event loop.
  const arrive = [1, 2, 3].map(() => Promise.withResolvers<void>())
  const ended = transferParts(
    transfer(48, 16, {
      trusted: new Map([1, 2, 3].map(receipt)),
      async decrypt(part, memory) {
        await arrive[part.number - 1]!.promise
        if (part.number === 2) throw new UnsealError("ERR_STORE_UNAVAILABLE", "no more bytes")
        return decrypt(part, memory, never)
      },
    }),
    never,
  )
  ended.catch(() => {})
  await nextTurn()
  for (const { resolve } of arrive) resolve()
  await expect(ended).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
}, 5_000)
