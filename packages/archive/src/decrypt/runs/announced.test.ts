import { createHash, randomBytes } from "node:crypto"
import { describe, expect, it } from "vitest"
import {
  encrypt,
  KEY,
  leftovers,
  never,
  options,
  PART,
  put,
  record,
  request,
  transportStream,
} from "../../../../../test/harness/runs/archive-run.ts"
import { decryptArchive } from "../archive.ts"

describe("decryptArchive", () => {
  it.each(["ciphertext", "plaintext", "neither"] as const)(
    "records that the announced sha256sum is of the %s",
    async (which) => {
      const plaintext = transportStream(5 * PART)
      const { ciphertext, encryptedPassword } = encrypt(plaintext)
      await put("source", KEY, ciphertext)
      const bytes = { ciphertext, plaintext, neither: randomBytes(8) }[which]
      const sha256sum = createHash("sha256").update(bytes).digest("base64")
      const wanted = request(encryptedPassword, { announced: { sha256sum } })
      const strict = decryptArchive(wanted, options({ announcedDigest: "require" }), never)
      if (which === "neither") {
        await expect(strict).rejects.toMatchObject({ code: "ERR_DIGEST_MISMATCH" })
        expect(await leftovers()).toEqual([])
        await decryptArchive(wanted, options(), never)
      }
      await strict.catch(() => {})
      expect((await record()).sha256).toEqual({
        plaintext: createHash("sha256").update(plaintext).digest("hex"),
        ciphertext: createHash("sha256").update(ciphertext).digest("hex"),
        announced: which,
      })
    },
  )

  describe.each([
    ["the ciphertext's", 0],
    ["a plaintext's without its padding", -12],
    ["a block more", 16],
  ])("of an announced size that fits, %s,", (_, more) => {
    it.each(["record", "require"] as const)("decrypts (%s)", async (announcedSize) => {
      const { ciphertext, encryptedPassword } = encrypt(transportStream(3 * PART))
      await put("source", KEY, ciphertext)
      const size = ciphertext.length + more
      const wanted = request(encryptedPassword, { announced: { size } })
      await decryptArchive(wanted, options({ announcedSize }), never)
      expect((await record()).announced).toEqual({ size, fits: true })
    })
  })

  // An unauthenticated ciphertext decrypts even if it is cut, provided that the cut is between blocks.
  it.each([
    ["cut at a block boundary", 2 * PART, 32],
    ["cut to one part of three", PART, 2 * PART],
    ["longer than announced", 3 * PART, -17],
  ])("distinguishes an object that is %s from a whole one", async (_, kept, missing) => {
    const { ciphertext, encryptedPassword } = encrypt(transportStream(3 * PART))
    await put("source", KEY, ciphertext.subarray(0, kept))
    const announced = { size: kept + missing }
    const wanted = request(encryptedPassword, { announced })
    const strict = decryptArchive(wanted, options({ announcedSize: "require" }), never)
    await expect(strict).rejects.toMatchObject({
      code: "ERR_OBJECT_INCOMPLETE",
      kind: "transient",
      message: `${KEY} has ${kept} bytes, but the callback announced ${announced.size}`,
    })
    expect(await leftovers()).toEqual([])
    await decryptArchive(wanted, options(), never)
    expect((await record()).announced).toEqual({ ...announced, fits: false })
  })

  it("adds a padding to the announced size only if there is one", async () => {
    const plaintext = Buffer.concat([transportStream(188 * 1000), Buffer.alloc(16, 16)])
    for (const [bytes, fits] of [
      [plaintext, true],
      [transportStream(plaintext.length), false],
    ] as const) {
      const { ciphertext, encryptedPassword } = encrypt(bytes)
      const key = `p/${fits}.ts`
      await put("source", key, ciphertext)
      const size = ciphertext.length - 20
      const at = { sourceKeys: [key], destinationKey: key }
      const wanted = request(encryptedPassword, { ...at, announced: { size } })
      const strict = decryptArchive(wanted, options({ announcedSize: "require" }), never)
      if (fits) await strict
      else await expect(strict).rejects.toMatchObject({ code: "ERR_OBJECT_INCOMPLETE" })
      const { record } = await decryptArchive(wanted, options(), never)
      expect(record.announced).toEqual({ size, fits })
    }
  })

  it("waits for the rest of an object that is not whole blocks yet, if it must be complete", async () => {
    const { ciphertext, encryptedPassword } = encrypt(transportStream(PART))
    for (const kept of [0, 4_711]) {
      await put("source", KEY, ciphertext.subarray(0, kept))
      const wanted = request(encryptedPassword, { announced: { size: ciphertext.length } })
      await expect(
        decryptArchive(wanted, options({ announcedSize: "require" }), never),
      ).rejects.toMatchObject({ code: "ERR_OBJECT_INCOMPLETE" })
    }
  })
})
