import { createHash } from "node:crypto"
import { rm } from "node:fs/promises"
import { crc32 } from "node:zlib"
import { describe, expect, it } from "vitest"
import {
  destination,
  encrypt,
  get,
  KEY,
  leftovers,
  never,
  options,
  PART,
  pathOf,
  put,
  record,
  request,
  source,
  transportStream,
  watched,
} from "../../../../../test/harness/runs/archive-run.ts"
import { memoryCheckpoint } from "../../../../../test/harness/runs/memory-checkpoint.ts"
import { type ErrorCode, UnsealError } from "../../errors.ts"
import { formatCrc32 } from "../../format/crc32.ts"
import { type DecryptOptions, decryptArchive } from "../archive.ts"
import { createByteBudget } from "../budget.ts"
import type { PartReceipt } from "../checkpoint.ts"

describe("a run that was cut short", () => {
  const plaintext = transportStream(10 * PART)
  const { ciphertext, encryptedPassword } = encrypt(plaintext)
  const crash = new Error("killed")
  /** A run that dies in `call`, and the calls of the run after it. */
  async function runTwice(call: string, more: Partial<DecryptOptions>) {
    await put("source", KEY, ciphertext)
    const checkpoint = memoryCheckpoint()
    const first = watched(destination, (now) => {
      if (now === call) throw crash
    })
    // One part at a time, so that the first run always leaves the same behind.
    const setup = options({ checkpoint, budget: createByteBudget(PART), ...more })
    const dying = decryptArchive(request(encryptedPassword, { destination: first.store }), setup, never)
    await expect(dying).rejects.toBe(crash)
    const reading = watched(source)
    const second = watched(destination)
    const wanted = request(encryptedPassword, { source: reading.store, destination: second.store })
    const result = await decryptArchive(wanted, setup, never)
    expect((await get()).equals(plaintext)).toBe(true)
    expect(await record()).toMatchObject({
      crc32: formatCrc32(crc32(plaintext)),
      destination: { size: plaintext.length },
      media: { packets: Math.floor(plaintext.length / 188), syncErrors: 0 },
    })
    expect(checkpoint.now).toBeNull()
    expect((await leftovers()).filter((name) => name.includes("unseal-"))).toEqual([])
    return { result, calls: second.calls, writes: second.writes(), reads: reading.calls }
  }

  it("is resumed: no part is written twice, nor read twice without a digest", async () => {
    const { calls, writes, reads } = await runTwice("write 7", { digest: "none" })
    expect(calls[0]).toBe("resume")
    expect(writes).toEqual(["write 7", "write 8", "write 9", "write 10"])
    expect(reads.length).toBe(4)
  })

  it("is resumed with a digest by reading again what was not hashed", async () => {
    const { result, writes, reads } = await runTwice("write 7", { digest: "sha256" })
    expect(writes).toEqual(["write 7", "write 8", "write 9", "write 10"])
    expect(reads.length).toBe(10)
    expect(result.record.sha256?.plaintext).toBe(createHash("sha256").update(plaintext).digest("hex"))
  })

  it.each(["none", "sha256"] as const)("right before it completed, completes (digest %s)", async (digest) => {
    const { writes, reads, result } = await runTwice("complete", { digest })
    expect(writes).toEqual([])
    // Without a digest, only the last block is read, for the tail.
    expect(reads.length).toBe(digest === "none" ? 1 : 10)
    expect(result.outcome).toBe("committed")
  })

  it("right after it completed, writes the record that it had sealed, and moves no byte", async () => {
    const { result, calls, reads } = await runTwice("completed", {})
    expect(result.outcome).toBe("already-committed")
    expect(calls.filter((call) => !call.startsWith("read"))).toEqual([])
    expect(reads).toEqual([])
  })

  it("after it completed, with its checkpoint lost too, is recorded from its source again and writes no part", async () => {
    await put("source", KEY, ciphertext)
    await decryptArchive(request(encryptedPassword), options(), never)
    const before = await record()
    await rm(pathOf("destination", "p/a/archive.json"))
    const writing = watched(destination)
    const wanted = request(encryptedPassword, { destination: writing.store })
    await decryptArchive(wanted, options({ checkpoint: memoryCheckpoint() }), never)
    expect(writing.writes()).toEqual([])
    const { crc32: checksum, sha256, destination: described } = await record()
    expect({ checksum, sha256, described }).toEqual({
      checksum: before.crc32,
      sha256: before.sha256,
      described: before.destination,
    })
  })

  it("does nothing the second time if the first was complete", async () => {
    await put("source", KEY, ciphertext)
    await decryptArchive(request(encryptedPassword), options(), never)
    const reading = watched(source)
    const writing = watched(destination)
    const wanted = request(encryptedPassword, { source: reading.store, destination: writing.store })
    const { outcome } = await decryptArchive(wanted, options(), never)
    expect(outcome).toBe("already-committed")
    expect(reading.calls).toEqual([])
    expect(writing.writes()).toEqual([])
  })

  it("starts over if the source has another version by then, and leaves nothing of the old one", async () => {
    await put("source", KEY, ciphertext)
    const checkpoint = memoryCheckpoint()
    const dying = watched(destination, (call) => {
      if (call === "write 5") throw crash
    })
    const setup = options({ checkpoint, budget: createByteBudget(PART) })
    await expect(
      decryptArchive(request(encryptedPassword, { destination: dying.store }), setup, never),
    ).rejects.toBe(crash)
    const replaced = transportStream(6 * PART)
    const again = encrypt(replaced)
    await put("source", KEY, again.ciphertext)
    await decryptArchive(request(again.encryptedPassword), setup, never)
    expect((await get()).equals(replaced)).toBe(true)
    expect((await leftovers()).filter((name) => name.includes("unseal-"))).toEqual([])
  })

  it("does not trust a part whose receipt the store does not confirm", async () => {
    await put("source", KEY, ciphertext)
    const checkpoint = memoryCheckpoint()
    const dying = watched(destination, (call) => {
      if (call === "write 7") throw crash
    })
    const setup = options({ checkpoint, budget: createByteBudget(PART), digest: "none" })
    await expect(
      decryptArchive(request(encryptedPassword, { destination: dying.store }), setup, never),
    ).rejects.toBe(crash)
    const parts = checkpoint.now!.parts as Map<number, PartReceipt>
    parts.set(3, { ...parts.get(3)!, tag: "another" })
    parts.delete(4)
    const second = watched(destination)
    await decryptArchive(request(encryptedPassword, { destination: second.store }), setup, never)
    expect(second.writes()).toEqual(["write 3", "write 4", "write 7", "write 8", "write 9", "write 10"])
    expect((await get()).equals(plaintext)).toBe(true)
  })

  it.each<[string, (receipt: PartReceipt) => PartReceipt]>([
    ["another number of sync errors", (receipt) => ({ ...receipt, syncErrors: 7 })],
    ["another CRC-32", (receipt) => ({ ...receipt, crc32: receipt.crc32 ^ 1 })],
    ["no proof", ({ proof: _, ...receipt }) => receipt],
    ["a proof of something else", (receipt) => ({ ...receipt, proof: "x" })],
  ])("does not believe a receipt with %s", async (_, forge) => {
    await put("source", KEY, ciphertext)
    for (const digest of ["none", "sha256"] as const) {
      const checkpoint = memoryCheckpoint()
      const dying = watched(destination, (call) => {
        if (call === "write 7") throw crash
      })
      const setup = options({ checkpoint, budget: createByteBudget(PART), digest })
      await expect(
        decryptArchive(request(encryptedPassword, { destination: dying.store }), setup, never),
      ).rejects.toBe(crash)
      const parts = checkpoint.now!.parts as Map<number, PartReceipt>
      parts.set(3, forge(parts.get(3)!))
      // A valid proof, but of another part.
      parts.set(5, { ...parts.get(5)!, proof: parts.get(4)!.proof })
      const second = watched(destination)
      await decryptArchive(request(encryptedPassword, { destination: second.store }), setup, never)
      expect(second.writes()).toEqual(["write 3", "write 5", "write 7", "write 8", "write 9", "write 10"])
      const { crc32: sum, media } = await record()
      expect(sum).toBe(formatCrc32(crc32(plaintext)))
      expect(media.syncErrors).toBe(0)
      for (const name of ["archive.ts", "archive.json"]) await rm(pathOf("destination", `p/a/${name}`))
    }
  })

  it.each<[string, (sealed: { record: string }) => unknown]>([
    [
      "altered",
      (sealed) => ({ ...sealed, record: sealed.record.replace('"syncErrors":0', '"syncErrors":7') }),
    ],
    ["made up", (sealed) => ({ ...JSON.parse(sealed.record), crc32: "00000000" })],
  ])("does not believe a sealed record that somebody has %s", async (_, forge) => {
    await put("source", KEY, ciphertext)
    const checkpoint = memoryCheckpoint()
    const dying = watched(destination, (call) => {
      if (call === "completed") throw crash
    })
    const setup = options({ checkpoint })
    await expect(
      decryptArchive(request(encryptedPassword, { destination: dying.store }), setup, never),
    ).rejects.toBe(crash)
    checkpoint.now = { ...checkpoint.now!, record: forge(checkpoint.now!.record as { record: string }) }
    await decryptArchive(request(encryptedPassword), setup, never)
    expect(await record()).toMatchObject({ crc32: formatCrc32(crc32(plaintext)), media: { syncErrors: 0 } })
  })

  it("by its own permanent failure, is cleaned up; by the deployment's, or by one that may pass, is kept", async () => {
    await put("source", KEY, ciphertext)
    const failWith = (code: ErrorCode) =>
      watched(destination, (call) => {
        if (call === "write 4") throw new UnsealError(code, "as the test wants")
      }).store
    for (const [code, kept] of [
      ["ERR_DESTINATION_EXISTS", false],
      ["ERR_OBJECT_CHANGED", false],
      ["ERR_UPLOAD_GONE", true],
      ["ERR_STORE_DENIED", true],
      ["ERR_STORE_UNAVAILABLE", true],
    ] as const) {
      const checkpoint = memoryCheckpoint()
      const attempt = decryptArchive(
        request(encryptedPassword, { destination: failWith(code) }),
        options({ checkpoint }),
        never,
      )
      await expect(attempt).rejects.toMatchObject({ code })
      expect((await leftovers()).length > 0).toBe(kept)
      expect(checkpoint.now !== null).toBe(kept)
    }
  })

  it("by an abort, rejects with its reason, keeps what was written, and has nothing in flight", async () => {
    await put("source", KEY, ciphertext)
    const shutdown = new AbortController()
    const reason = new Error("shutdown")
    const checkpoint = memoryCheckpoint()
    const budget = createByteBudget(3 * PART)
    const stopping = watched(destination, (call) => {
      if (call === "write 6") shutdown.abort(reason)
    })
    const wanted = request(encryptedPassword, { destination: stopping.store })
    await expect(decryptArchive(wanted, options({ checkpoint, budget }), shutdown.signal)).rejects.toBe(
      reason,
    )
    expect(budget.holders).toBe(0)
    expect(checkpoint.now!.parts.size).toBeGreaterThanOrEqual(3)
    await expect(get()).rejects.toMatchObject({ code: "ENOENT" })
  })

  it("by the fence, does not become visible", async () => {
    await put("source", KEY, ciphertext)
    const lost = new Error("lock lost")
    const fence = async () => {
      throw lost
    }
    const writing = watched(destination)
    const wanted = request(encryptedPassword, { destination: writing.store })
    await expect(
      decryptArchive(wanted, options({ fence, checkpoint: memoryCheckpoint() }), never),
    ).rejects.toBe(lost)
    expect(writing.calls).not.toContain("complete")
    await expect(get()).rejects.toMatchObject({ code: "ENOENT" })
  })
})
