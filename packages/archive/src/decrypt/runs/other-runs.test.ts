import { rm } from "node:fs/promises"
import { crc32 } from "node:zlib"
import { describe, expect, it } from "vitest"
import {
  destination,
  encrypt,
  KEY,
  never,
  options,
  PART,
  pathOf,
  put,
  request,
  transportStream,
  watched,
} from "../../../../../test/harness/runs/archive-run.ts"
import { memoryCheckpoint } from "../../../../../test/harness/runs/memory-checkpoint.ts"
import { UnsealError } from "../../errors.ts"
import { type DecryptOptions, decryptArchive } from "../archive.ts"
import type { Checkpoint, CheckpointLog } from "../checkpoint.ts"

describe("a run that lost its lock", () => {
  const { ciphertext, encryptedPassword } = encrypt(transportStream(3 * PART))
  const lost = new Error("lock lost")
  const openTokens = async () =>
    (await Array.fromAsync(destination.openUploads(never, KEY))).map(({ token }) => token)

  /** The open uploads after a run that lost its lock at the fence, with the checkpoint as `then` left it. */
  async function left(then: (log: ReturnType<typeof memoryCheckpoint>) => void): Promise<string[]> {
    await put("source", KEY, ciphertext)
    const checkpoint = memoryCheckpoint()
    const fence = async () => {
      then(checkpoint)
      throw lost
    }
    const run = decryptArchive(request(encryptedPassword), options({ fence, checkpoint }), never)
    await expect(run).rejects.toBe(lost)
    const open = await openTokens()
    for (const token of open) await destination.abortUpload({ key: KEY, token, startedAt: new Date() }, never)
    return open
  }

  it("leaves its upload to the run that has the checkpoint", async () => {
    expect(await left(() => {})).toHaveLength(1)
  })

  it("leaves it to the janitor if the owner is unknown", async () => {
    const unknown = (log: CheckpointLog) => {
      log.notes = async () => {
        throw new Error("redis did not answer")
      }
    }
    expect(await left(unknown)).toHaveLength(1)
  })

  it("removes its upload if Redis has lost the note about it", async () => {
    const forgets = (log: { now: Checkpoint | null }) => {
      log.now = null
    }
    expect(await left(forgets)).toEqual([])
  })

  it("removes an upload whose note was never confirmed, without asking", async () => {
    await put("source", KEY, ciphertext)
    const checkpoint = memoryCheckpoint()
    checkpoint.begin = () => Promise.reject(lost)
    checkpoint.notes = () => Promise.reject(new Error("redis did not answer"))
    const run = decryptArchive(request(encryptedPassword), options({ checkpoint }), never)
    await expect(run).rejects.toBe(lost)
    expect(await openTokens()).toEqual([])
  })

  it("removes its own upload if another run has started over, but not the other's", async () => {
    const other = await destination.create(
      KEY,
      PART,
      { contentType: "video/mp2t", metadata: {}, existing: "fail" },
      never,
    )
    await other.writePart(1, [Buffer.alloc(PART)], crc32(Buffer.alloc(PART)), never)
    const begunAnew = (log: { now: Checkpoint | null }) => {
      log.now = { ...log.now!, upload: { ...log.now!.upload!, token: other.token } }
    }
    expect(await left(begunAnew)).toEqual([other.token])
  })
})

describe("a run of an archive that was started before", () => {
  const { ciphertext, encryptedPassword } = encrypt(transportStream(3 * PART))
  const PLAIN = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const
  const openTokens = async () =>
    (await Array.fromAsync(destination.openUploads(never))).map(({ key, token }) => ({ key, token }))

  /** Begins an upload that an earlier run might have left, unknown to everybody. */
  async function forget(key = KEY) {
    const { token, writePart } = await destination.create(key, PART, PLAIN, never)
    await writePart(1, [Buffer.alloc(PART)], crc32(Buffer.alloc(PART)), never)
    return { key, token }
  }

  async function run(more: Partial<DecryptOptions>, store = destination, signal = never) {
    await put("source", KEY, ciphertext)
    const checkpoint = more.checkpoint ?? memoryCheckpoint()
    const wanted = request(encryptedPassword, { destination: store })
    return decryptArchive(wanted, options({ startedBefore: true, ...more, checkpoint }), signal)
  }

  it("removes what was begun under its key, and under no other", async () => {
    await forget()
    await forget()
    const others = [await forget(`${KEY}.old`), await forget("p/b/archive.ts")]
    expect((await run({})).outcome).toBe("committed")
    expect(await openTokens()).toEqual(expect.arrayContaining(others))
    expect(await openTokens()).toHaveLength(others.length)
  })

  it("does so before it writes, and does not look if nothing can have been left", async () => {
    const left = await forget()
    const listing: string[] = []
    const seen = watched(destination, (call) => {
      if (call === "write 1") listing.push(call)
    })
    const store = {
      ...seen.store,
      openUploads: (signal: AbortSignal, key?: string) => {
        listing.push(`list ${key}`)
        return destination.openUploads(signal, key)
      },
    }
    await run({ startedBefore: false }, store)
    expect(listing).toEqual(["write 1"])
    expect(await openTokens()).toEqual([left])

    await rm(pathOf("destination", KEY))
    await rm(pathOf("destination", "p/a/archive.json"))
    await run({}, store)
    expect(listing).toEqual(["write 1", `list ${KEY}`, "write 1"])
    expect(await openTokens()).toEqual([])
  })

  it("leaves what may be another job's", async () => {
    const left = await forget()
    const checkpoint = { ...memoryCheckpoint(), hasRivals: async () => true }
    expect((await run({ checkpoint })).outcome).toBe("committed")
    expect(await openTokens()).toEqual([left])
  })

  it("that lost its lock leaves all others, and removes its own", async () => {
    const left = await forget()
    const lost = new Error("lock lost")
    const abort = new AbortController()
    const checkpoint = memoryCheckpoint()
    const hasRivals = async () => {
      checkpoint.now = null
      abort.abort(lost)
      throw lost
    }
    await expect(run({ checkpoint: { ...checkpoint, hasRivals } }, destination, abort.signal)).rejects.toBe(
      lost,
    )
    expect(await openTokens()).toEqual([left])
  })

  it.each(["ERR_STORE_DENIED", "ERR_STORE_UNAVAILABLE"] as const)(
    "goes on where the listing is %s",
    async (code) => {
      const left = await forget()
      const refused = async function* () {
        yield* []
        throw new UnsealError(code, "as planned")
      }
      expect((await run({}, { ...destination, openUploads: refused })).outcome).toBe("committed")
      expect(await openTokens()).toEqual([left])
    },
  )

  it("goes on if Redis does not say whose it is", async () => {
    const left = await forget()
    const hasRivals = () => Promise.reject(new Error("redis did not answer"))
    expect((await run({ checkpoint: { ...memoryCheckpoint(), hasRivals } })).outcome).toBe("committed")
    expect(await openTokens()).toEqual([left])
  })
})
