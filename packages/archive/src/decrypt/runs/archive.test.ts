import { createHash, generateKeyPairSync, randomBytes } from "node:crypto"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { crc32 } from "node:zlib"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { poisoned } from "../../../../../test/harness/poisoned.ts"
import {
  count,
  destination,
  encrypt,
  get,
  KEY,
  keyRing,
  leftovers,
  never,
  options,
  PART,
  put,
  record,
  request,
  root,
  source,
  transportStream,
} from "../../../../../test/harness/runs/archive-run.ts"
import { UnsealError } from "../../errors.ts"
import { formatCrc32 } from "../../format/crc32.ts"
import { encodePassword, wrapPassword } from "../../format/password.ts"
import type { ArchiveStore, StoredObject } from "../../store/contract.ts"
import { openStore } from "../../store/open.ts"
import { partSizeFor } from "../../store/s3/multipart.ts"
import { decryptArchive } from "../archive.ts"
import { type ByteBudget, createByteBudget } from "../budget.ts"

describe("decryptArchive", () => {
  it("gives the plaintext and its record, for any size and part size", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.constantFrom(1, 47, 4096, 4095, 4097, 8192), fc.integer({ min: 1, max: 30_000 })),
        fc.constantFrom(16, 1024, 4096, PART / 16),
        fc.constantFrom("sha256" as const, "none" as const),
        async (blocks, partBlocks, digest) => {
          const plaintext = transportStream(blocks * 16)
          const { ciphertext, encryptedPassword } = encrypt(plaintext)
          const key = `p/${randomBytes(8).toString("hex")}.ts`
          await put("source", key, ciphertext)
          const where = pathToFileURL(join(root, String(count), "destination")).href
          const fine = poisoned(await openStore(where, { env: {}, partSizeBytes: partBlocks * 16 }))
          const wanted = request(encryptedPassword, {
            sourceKeys: [key],
            destinationKey: key,
            destination: fine,
          })
          const result = await decryptArchive(wanted, options({ digest }), never)
          expect((await get(key)).equals(plaintext)).toBe(true)
          expect(result.record.crc32).toBe(formatCrc32(crc32(plaintext)))
          const sha256 = createHash("sha256").update(plaintext).digest("hex")
          expect(result.record.sha256?.plaintext).toBe(digest === "sha256" ? sha256 : undefined)
          expect(result.record.media).toEqual({ packets: Math.floor(plaintext.length / 188), syncErrors: 0 })
        },
      ),
      { numRuns: 40 },
    )
  })

  it("writes the record beside the archive, with everything needed to check it", async () => {
    const plaintext = Buffer.concat([transportStream(188 * 1000), Buffer.alloc(16, 16)])
    const { ciphertext, encryptedPassword } = encrypt(plaintext)
    await put("source", KEY, ciphertext)
    const { outcome } = await decryptArchive(request(encryptedPassword), options({ attempt: 3 }), never)
    expect(outcome).toBe("committed")
    expect(await record()).toMatchObject({
      version: 1,
      archiveId: "b40ef09b-3811-4726-b508-e41a0f96c68f",
      projectId: "123456",
      source: { key: KEY, size: ciphertext.length, etag: expect.any(String) },
      destination: { key: KEY, size: plaintext.length, etag: expect.stringMatching(/./) },
      crc32: formatCrc32(crc32(plaintext)),
      sha256: { plaintext: createHash("sha256").update(plaintext).digest("hex") },
      keyId: keyRing.describe()[0]!.keyId,
      tail: { form: "pkcs7", padding: 16 },
      media: { packets: 1000, syncErrors: 0 },
      attempts: 3,
    })
  })

  it.each([
    ["pkcs7", Buffer.alloc(4, 4), 4],
    ["irregular", Buffer.alloc(4, 0), 0],
  ])("trims a %s tail only if it is a padding", async (form, tail, trimmed) => {
    const content = transportStream(188 * 1389)
    const { ciphertext, encryptedPassword } = encrypt(Buffer.concat([content, tail]))
    await put("source", KEY, ciphertext)
    const result = await decryptArchive(request(encryptedPassword), options({ tail: "trim" }), never)
    expect((await get()).equals(Buffer.concat([content, tail.subarray(trimmed)]))).toBe(true)
    expect(result.record.tail).toEqual({ form, padding: trimmed })
    expect(result.record.crc32).toBe(formatCrc32(crc32(await get())))
  })

  it.each([
    [
      "5 TB, which S3 takes in parts of half a gigabyte",
      5e12,
      /claims 5000000000000 bytes, .* in parts of 500000288/,
    ],
    [
      "1 PB, which is more than any store holds",
      1e15,
      /1000000000000000 bytes, which is more than any store/,
    ],
  ])("refuses an object that claims to be of %s, at the cost of a small one", async (_, size, message) => {
    const { ciphertext, encryptedPassword } = encrypt(transportStream(PART))
    await put("source", KEY, ciphertext)
    const claims = (object: StoredObject | null) => object && { ...object, size }
    const huge: ArchiveStore = {
      ...source,
      stat: async (key, signal) => claims(await source.stat(key, signal)),
      async open(key, length, signal) {
        const opened = await source.open(key, length, signal)
        return opened && { ...opened, object: claims(opened.object)! }
      },
    }
    let most = 0
    const shared = createByteBudget(8 * 8 * 1024 * 1024)
    const budget: ByteBudget = {
      limit: shared.limit,
      holders: 0,
      acquire(bytes, signal) {
        most = Math.max(most, bytes)
        return shared.acquire(bytes, signal)
      },
    }
    const s3Like: ArchiveStore = {
      ...destination,
      partSizeFor: (size) => partSizeFor(size, 8 * 1024 * 1024),
    }
    const wanted = request(encryptedPassword, { source: huge, destination: s3Like })
    await expect(decryptArchive(wanted, options({ budget }), never)).rejects.toMatchObject({
      ...{ code: "ERR_CIPHERTEXT_INVALID", kind: "permanent" },
      message: expect.stringMatching(message),
    })
    expect(most).toBe(0)
  })

  it("treats an empty archive as a result, whatever its password", async () => {
    await put("source", KEY, Buffer.alloc(0))
    const { outcome } = await decryptArchive(
      request("anything", { announced: { size: 0 } }),
      options(),
      never,
    )
    expect(outcome).toBe("empty")
    expect((await get()).length).toBe(0)
    expect(await record()).toMatchObject({ crc32: "00000000", destination: { size: 0 } })
  })

  it("accepts an archive that is only padding", async () => {
    const { ciphertext, encryptedPassword } = encrypt(Buffer.alloc(16, 16))
    await put("source", KEY, ciphertext)
    await decryptArchive(request(encryptedPassword), options({ tail: "trim" }), never)
    expect((await get()).length).toBe(0)
  })

  describe("bytes requested with the first look", () => {
    /** A source that reports what became of the head that it gave. */
    function ahead() {
      const fate: string[] = []
      const store: ArchiveStore = {
        ...source,
        async open(...asked) {
          const opened = await source.open(...asked)
          if (opened === null) return null
          const read = async function* () {
            fate.push("read")
            yield* opened.head
          }
          return { ...opened, head: read(), close: () => fate.push("let go") }
        },
      }
      return { store, fate }
    }
    const { ciphertext, encryptedPassword } = encrypt(transportStream(PART))
    const foreign = wrapPassword(
      encodePassword({ key: randomBytes(32), iv: randomBytes(16) }),
      generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey,
    )

    it("are the first part", async () => {
      await put("source", KEY, ciphertext)
      const { store, fate } = ahead()
      await decryptArchive(request(encryptedPassword, { source: store }), options(), never)
      expect(fate).toEqual(["read"])
    })

    it.each([
      ["whose password is of another key", foreign, "ERR_NO_MATCHING_KEY"],
      ["that is not a whole number of blocks", encryptedPassword, "ERR_CIPHERTEXT_INVALID"],
      ["whose destination does not answer", encryptedPassword, "ERR_STORE_UNAVAILABLE"],
      ["that is committed already", encryptedPassword, undefined],
    ])("are released for an archive %s", async (title, password, code) => {
      const cut = code === "ERR_CIPHERTEXT_INVALID" ? ciphertext.subarray(1) : ciphertext
      await put("source", KEY, cut)
      if (code === undefined) await decryptArchive(request(password), options(), never)
      const silent = new UnsealError("ERR_STORE_UNAVAILABLE", title)
      const { store, fate } = ahead()
      const wanted = request(password, {
        source: store,
        ...(code === silent.code && { destination: { ...destination, stat: () => Promise.reject(silent) } }),
      })
      const failure = await decryptArchive(wanted, options(), never).then(
        () => undefined,
        (error) => error.code,
      )
      expect(failure).toBe(code)
      await expect.poll(() => fate).toEqual(["let go"])
    })
  })

  it("replaces other content if it may", async () => {
    const plaintext = transportStream(PART)
    const { ciphertext, encryptedPassword } = encrypt(plaintext)
    await put("source", KEY, ciphertext)
    await put("destination", KEY, Buffer.from("other"))
    await decryptArchive(request(encryptedPassword), options({ existing: "replace" }), never)
    expect((await get()).equals(plaintext)).toBe(true)
  })

  it("makes one archive from several concurrent runs", async () => {
    const plaintext = transportStream(5 * PART)
    const { ciphertext, encryptedPassword } = encrypt(plaintext)
    await put("source", KEY, ciphertext)
    const runs = Array.from({ length: 6 }, () => decryptArchive(request(encryptedPassword), options(), never))
    const results = await Promise.all(runs)
    expect(results.map((result) => result.record.crc32)).toEqual(Array(6).fill(formatCrc32(crc32(plaintext))))
    expect((await get()).equals(plaintext)).toBe(true)
    expect((await leftovers()).filter((name) => name.includes("unseal-"))).toEqual([])
  })

  it("tolerates sync errors inside the archive, and counts them", async () => {
    const plaintext = transportStream(188 * 4000)
    for (const packet of [700, 701, 3999]) plaintext[packet * 188] = 0
    const { ciphertext, encryptedPassword } = encrypt(plaintext)
    await put("source", KEY, ciphertext)
    await decryptArchive(request(encryptedPassword), options(), never)
    expect((await record()).media).toEqual({ packets: 4000, syncErrors: 3 })
  })
})
