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
  transportStream,
  watched,
} from "../../../../../test/harness/runs/archive-run.ts"
import { memoryCheckpoint } from "../../../../../test/harness/runs/memory-checkpoint.ts"
import { formatCrc32 } from "../../format/crc32.ts"
import type { ArchiveStore, CreateOptions } from "../../store/contract.ts"
import { writeSmallObject } from "../../store/small-object.ts"
import { decryptArchive } from "../archive.ts"

/** A store that reports success for its first commit of the archive, but does what `lie` says instead. */
function lying(lie: (size: number, create: CreateOptions) => Promise<void>) {
  let lies = 0
  const store: ArchiveStore = {
    ...destination,
    async create(key, size, create, signal) {
      const writer = await destination.create(key, size, create, signal)
      if (key !== KEY) return writer
      return {
        ...writer,
        async complete(parts, signal) {
          if (lies++ > 0) return writer.complete(parts, signal)
          await lie(size, create)
          return { key, size, etag: "claimed", metadata: create.metadata }
        },
      }
    },
  }
  return store
}

describe("a store that lies about what it completed", () => {
  const plaintext = transportStream(3 * PART)
  const { ciphertext, encryptedPassword } = encrypt(plaintext)
  const publish = async (bytes: Uint8Array, create: CreateOptions) => {
    const { contentType, metadata } = create
    await writeSmallObject(destination, KEY, bytes, contentType, never, { metadata })
  }
  const lies: [string, "size" | "content", RegExp, (size: number, create: CreateOptions) => Promise<void>][] =
    [
      ["put nothing together", "size", /has nothing under p\/a\/archive\.ts/, async () => {}],
      [
        "left a part out",
        "size",
        /has 132352 bytes under .*, where 198528 were committed/,
        (_, create) => publish(plaintext.subarray(0, 2 * PART), create),
      ],
      [
        "put junk together",
        "content",
        /other bytes under .*: CRC-32 [0-9a-f]{8} instead of [0-9a-f]{8}/,
        (size, create) => publish(Buffer.alloc(size, 1), create),
      ],
    ]

  it.each(lies)("and %s is not believed (%s), and the next run mends it", async (_, verify, message, lie) => {
    await put("source", KEY, ciphertext)
    const wanted = request(encryptedPassword, { destination: lying(lie) })
    const setup = options({ verify, checkpoint: memoryCheckpoint() })
    await expect(decryptArchive(wanted, setup, never)).rejects.toMatchObject({
      ...{ code: "ERR_COMMIT_MISMATCH", kind: "transient", side: "destination" },
      message: expect.stringMatching(message),
    })
    await expect(record()).rejects.toMatchObject({ code: "ENOENT" })
    const { outcome } = await decryptArchive(wanted, setup, never)
    expect(outcome).toBe("committed")
    expect((await get()).equals(plaintext)).toBe(true)
    const { etag } = (await destination.stat(KEY, never))!
    expect((await record()).destination).toEqual({ key: KEY, size: plaintext.length, etag })
    expect((await leftovers()).filter((name) => name.includes("unseal-"))).toEqual([])
  })

  it("is repaired even if the next run knows only the size", async () => {
    await put("source", KEY, ciphertext)
    const store = lying((_, create) => publish(plaintext.subarray(0, PART), create))
    const wanted = request(encryptedPassword, { destination: store })
    await expect(decryptArchive(wanted, options(), never)).rejects.toMatchObject({
      code: "ERR_COMMIT_MISMATCH",
    })
    // What is wrong stays until what is right replaces it.
    expect((await get()).length).toBe(PART)
    await decryptArchive(wanted, options({ checkpoint: memoryCheckpoint() }), never)
    expect((await get()).equals(plaintext)).toBe(true)
  })

  it("is also mended if the run that it lied to was killed before it could look", async () => {
    await put("source", KEY, ciphertext)
    const store = lying((size, create) => publish(Buffer.alloc(size, 1), create))
    const killed = new Error("killed")
    const dying: ArchiveStore = {
      ...store,
      stat: async (key, signal) => {
        const found = await store.stat(key, signal)
        if (key === KEY && found !== null) throw killed
        return found
      },
    }
    const setup = options({ verify: "content", checkpoint: memoryCheckpoint() })
    const first = decryptArchive(request(encryptedPassword, { destination: dying }), setup, never)
    await expect(first).rejects.toBe(killed)
    await decryptArchive(request(encryptedPassword, { destination: store }), setup, never)
    expect((await get()).equals(plaintext)).toBe(true)
    expect((await record()).crc32).toBe(formatCrc32(crc32(plaintext)))
  })

  it("and has the right bytes after all is believed, without a part written again", async () => {
    await put("source", KEY, ciphertext)
    const checkpoint = memoryCheckpoint()
    const setup = options({ verify: "content", checkpoint })
    await decryptArchive(request(encryptedPassword), setup, never)
    await rm(pathOf("destination", "p/a/archive.json"))
    const writing = watched(destination)
    const wanted = request(encryptedPassword, { destination: writing.store })
    await decryptArchive(wanted, setup, never)
    expect(writing.writes()).toEqual([])
    expect((await record()).sha256.plaintext).toBe(createHash("sha256").update(plaintext).digest("hex"))
  })
})
