import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto"
import { writeFileSync } from "node:fs"
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
  publicKey,
  put,
  record,
  request,
  source,
  transportStream,
  watched,
} from "../../../../../test/harness/runs/archive-run.ts"
import { UnsealError } from "../../errors.ts"
import { encodePassword, wrapPassword } from "../../format/password.ts"
import { type ArchiveRequest, type DecryptOptions, decryptArchive } from "../archive.ts"

describe("decryptArchive", () => {
  describe("refuses, leaving nothing visible and nothing half-written,", () => {
    const good = transportStream(3 * PART)
    const cases: [string, string, () => Promise<[ArchiveRequest, Partial<DecryptOptions>?]>, RegExp][] = [
      [
        "a password that is not base64",
        "ERR_PASSWORD_INVALID",
        async () => [request("e42c...d23")],
        /character 5 of 10/,
      ],
      [
        "an encrypted password of another length than the keys'",
        "ERR_NO_MATCHING_KEY",
        async () => [request(randomBytes(255).toString("base64"))],
        /255 bytes; the only key takes 256/,
      ],
      [
        "a password for another certificate",
        "ERR_NO_MATCHING_KEY",
        async () => [request(randomBytes(256).toString("base64"))],
        /the only key does not unwrap/,
      ],
      [
        "an unknown header",
        "ERR_PASSWORD_INVALID",
        async () => [request(encrypt(good, [1, 2, 1]).encryptedPassword)],
        /algorithm 2 is not supported/,
      ],
      [
        "a password that is not 51 bytes",
        "ERR_PASSWORD_INVALID",
        async () => [request(wrapPassword(randomBytes(48), publicKey))],
        /48 bytes, not 51/,
      ],
      [
        "a missing object",
        "ERR_OBJECT_NOT_FOUND",
        async () => [request(encrypt(good).encryptedPassword, { sourceKeys: ["a.ts", "a.mp4"] })],
        /no object under a\.ts or a\.mp4/,
      ],
      [
        "an object that is empty although the callback announced bytes",
        "ERR_CIPHERTEXT_INVALID",
        async () => {
          await put("source", KEY, Buffer.alloc(0))
          return [request("x", { announced: { size: 18_023_312 } })]
        },
        /empty \(0 bytes\), but the callback announced 18023312 bytes/,
      ],
      [
        "an object that is cut short",
        "ERR_CIPHERTEXT_INVALID",
        async () => {
          const { ciphertext, encryptedPassword } = encrypt(good)
          await put("source", KEY, ciphertext.subarray(0, -3))
          return [request(encryptedPassword)]
        },
        /198525 bytes is not a whole number of 16-byte blocks/,
      ],
      [
        "a content key of another archive",
        "ERR_NOT_MPEG_TS",
        async () => [request(encrypt(good).encryptedPassword)],
        /of the first 64 packets/,
      ],
      [
        "a content key of another archive, trimming",
        "ERR_NOT_MPEG_TS",
        async () => [request(encrypt(good).encryptedPassword), { tail: "trim" }],
        /of the first 64 packets/,
      ],
      [
        "a wrong IV",
        "ERR_NOT_MPEG_TS",
        async () => {
          const key = randomBytes(32)
          const cipher = createCipheriv("aes-256-cbc", key, randomBytes(16)).setAutoPadding(false)
          const ciphertext = Buffer.concat([cipher.update(good), cipher.final()])
          // Whatever block 1 becomes, the first packet must not get its sync byte by chance.
          const iv = Buffer.alloc(16)
          const first = createDecipheriv("aes-256-cbc", key, iv)
            .setAutoPadding(false)
            .update(ciphertext.subarray(0, 16))
          iv[0] = first[0]! ^ 0x48
          await put("source", KEY, ciphertext)
          return [request(wrapPassword(encodePassword({ key, iv }), publicKey))]
        },
        /first packet has no sync byte 0x47, but 63 of 64 do/,
      ],
      [
        "a destination with other content",
        "ERR_DESTINATION_EXISTS",
        async () => [request(encrypt(good).encryptedPassword, { destinationKey: "other.ts" })],
        /holds another object of 5 bytes under other\.ts/,
      ],
    ]
    it.each(cases)("%s (%s)", async (_, code, prepare, message) => {
      await put("source", KEY, encrypt(good).ciphertext)
      await put("destination", "other.ts", Buffer.from("other"))
      const [wanted, more] = await prepare()
      const attempt = decryptArchive(wanted, options(more), never)
      await expect(attempt).rejects.toBeInstanceOf(UnsealError)
      await expect(attempt).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
      expect(await leftovers()).toEqual(["other.ts"])
      expect((await get("other.ts")).toString()).toBe("other")
    })

    it("an object that changes while it is read", async () => {
      const { ciphertext, encryptedPassword } = encrypt(transportStream(8 * PART))
      await put("source", KEY, ciphertext)
      const changing = watched(source, (call) => {
        if (call.startsWith(`read ${4 * PART - 16}`)) {
          // In place, which the vendor's upload never does, but a person may do.
          writeFileSync(pathOf("source", KEY), encrypt(transportStream(8 * PART)).ciphertext)
        }
      })
      const attempt = decryptArchive(request(encryptedPassword, { source: changing.store }), options(), never)
      await expect(attempt).rejects.toMatchObject({ code: "ERR_OBJECT_CHANGED" })
      expect(await leftovers()).toEqual([])
    })
  })

  it("reads only the first packets to refuse a wrong content key, and begins no upload", async () => {
    await put("source", KEY, encrypt(transportStream(40 * PART)).ciphertext)
    const reading = watched(source)
    const writing = watched(destination)
    const { encryptedPassword } = encrypt(Buffer.alloc(16))
    const wanted = request(encryptedPassword, { source: reading.store, destination: writing.store })
    await expect(decryptArchive(wanted, options(), never)).rejects.toMatchObject({ code: "ERR_NOT_MPEG_TS" })
    // The second read is undecrypted, to recognise an archive without encryption.
    expect(reading.calls).toEqual([`read 0-${PART}`, `read 0-${64 * 188}`])
    expect(writing.calls).toEqual([])
  })
})

describe("an archive with many damaged packets", () => {
  const damaged = (share: number) => {
    const plaintext = transportStream(188 * 4000)
    for (let packet = 64; packet < 64 + share * 4000; packet++) plaintext[packet * 188] = 0
    return encrypt(plaintext)
  }

  it("is refused, and nothing appears", async () => {
    const { ciphertext, encryptedPassword } = damaged(0.87)
    await put("source", KEY, ciphertext)
    await expect(decryptArchive(request(encryptedPassword), options(), never)).rejects.toMatchObject({
      code: "ERR_CIPHERTEXT_INVALID",
      message: expect.stringMatching(/3480 of the 4000 packets .*\(87 %\).* at most 50 %/),
    })
    expect(await leftovers()).toEqual([])
    await decryptArchive(request(encryptedPassword), options({ maxDamage: 1 }), never)
    expect((await record()).media.syncErrors).toBe(3480)
  })

  it.each([
    [0.5, 0.5],
    [0.01, 0.01],
  ])("is taken up to the limit (%d of %d)", async (share, maxDamage) => {
    const { ciphertext, encryptedPassword } = damaged(share)
    await put("source", KEY, ciphertext)
    await decryptArchive(request(encryptedPassword), options({ maxDamage }), never)
    expect((await record()).media.syncErrors).toBe(share * 4000)
  })
})
