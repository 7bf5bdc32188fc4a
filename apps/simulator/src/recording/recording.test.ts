import { createHash, createPrivateKey, privateDecrypt, X509Certificate } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { extendTransportStream } from "./media.ts"
import { createCertificate, decryptByOpenssl } from "./openssl.ts"
import { makeRecording, type Recording, type RecordingOptions, type Tail } from "./recording.ts"

const sample = readFileSync(new URL("../../../../test/vectors/audio-only-12s.mpegts", import.meta.url))
const vectors = new URL("../../../../test/vectors/", import.meta.url)
const PART = 5 * 1024 * 1024

const directory = mkdtempSync(join(tmpdir(), "recording-"))
const certificateFile = join(directory, "cert.pem")
const keyFile = join(directory, "key.pem")
let publicKey: RecordingOptions["publicKey"]

beforeAll(async () => {
  await createCertificate({ certificateFile, keyFile })
  publicKey = new X509Certificate(readFileSync(certificateFile)).publicKey
})
afterAll(() => rmSync(directory, { recursive: true }))

const make = (options: Pick<RecordingOptions, "size" | "tail"> & Partial<RecordingOptions>): Recording =>
  makeRecording({ sample, publicKey, ...options })

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")
const content = (bytes: number): Buffer =>
  Buffer.concat([...extendTransportStream(sample, bytes, { partialPacket: true })])

/** The archive's ciphertext, and openssl's decryption of it. */
async function decrypted(recording: Recording, oaepHash: "sha1" | "sha256" = "sha1") {
  const source = join(directory, "archive.enc")
  const destination = join(directory, "archive.ts")
  const ciphertext = Buffer.concat([...recording.ciphertext])
  writeFileSync(source, ciphertext)
  await decryptByOpenssl({
    encryptedPassword: recording.encryptedPassword,
    keyFile,
    oaepHash,
    source,
    destination,
  })
  return { ciphertext, plaintext: readFileSync(destination) }
}

/** The filler that each tail appends to `contentSize` bytes. */
const FILLERS: Record<Tail, (contentSize: number) => Buffer> = {
  pkcs7: (size) => Buffer.alloc(16 - (size % 16), 16 - (size % 16)),
  zero: (size) => Buffer.alloc((16 - (size % 16)) % 16),
  none: () => Buffer.alloc(0),
}

describe("an archive of an exact size", () => {
  const sizes = [16, 32, 752, 128_032, PART - 16, PART, PART + 16, 3 * PART + 4_096]
  const cases = (["pkcs7", "zero", "none"] as const).flatMap((tail) =>
    sizes.map((size) => [tail, size] as const),
  )

  test.each(cases)("decrypts with openssl, tail %s, %i bytes", async (tail, size) => {
    const recording = make({ size, tail, exact: true })
    const { ciphertext, plaintext } = await decrypted(recording)
    expect(recording.size).toBe(size)
    expect(ciphertext).toHaveLength(size)
    const expected = Buffer.concat([content(recording.contentSize), FILLERS[tail](recording.contentSize)])
    expect(plaintext.equals(expected)).toBe(true)
    expect(recording.digests()).toEqual({ plaintext: sha256(plaintext), ciphertext: sha256(ciphertext) })
  })

  test.each([
    ["pkcs7", 752, 751],
    ["pkcs7", 192, 188],
    ["pkcs7", 128_032, 128_028],
    ["pkcs7", 128_048, 128_047],
    ["zero", 752, 752],
    ["zero", 192, 188],
    ["zero", 128_032, 128_028],
    ["none", 192, 192],
  ] as const)("ends on a packet if it can: %s, %i bytes hold %i", (tail, size, contentSize) => {
    expect(make({ size, tail, exact: true }).contentSize).toBe(contentSize)
  })

  test.each([1, 15, 17, 188, -16, 16.5])("is refused for %d bytes", (size) => {
    expect(() => make({ size, tail: "zero", exact: true })).toThrow(RangeError)
  })

  test("of 1 GiB is made in constant memory", { timeout: 180_000 }, () => {
    const recording = make({ size: 2 ** 30, tail: "pkcs7", exact: true })
    const before = process.memoryUsage().rss
    let bytes = 0
    let peak = before
    for (const chunk of recording.ciphertext) {
      bytes += chunk.length
      peak = Math.max(peak, process.memoryUsage.rss())
    }
    expect(bytes).toBe(2 ** 30)
    expect(peak - before).toBeLessThan(2 ** 29)
  })
})

describe("an archive of an approximate size", () => {
  test.each([
    ["pkcs7", 128_100, 128_028, 128_032],
    ["zero", 128_100, 128_028, 128_032],
    ["none", 128_100, 127_840, 127_840],
    ["pkcs7", 752, 752, 768],
    ["zero", 752, 752, 752],
    ["zero", 1, 188, 192],
    ["none", 1, 752, 752],
  ] as const)("is whole packets and their tail: %s, %i", async (tail, size, contentSize, expectedSize) => {
    const recording = make({ size, tail })
    expect(recording).toMatchObject({ contentSize, size: expectedSize })
    const { plaintext } = await decrypted(recording)
    expect(plaintext.equals(Buffer.concat([content(contentSize), FILLERS[tail](contentSize)]))).toBe(true)
  })

  test.each(["pkcs7", "zero", "none"] as const)("is empty for 0 bytes, tail %s", (tail) => {
    const recording = make({ size: 0, tail })
    expect(recording).toMatchObject({ contentSize: 0, size: 0 })
    expect([...recording.ciphertext]).toEqual([])
    expect(recording.digests()).toEqual({
      plaintext: sha256(new Uint8Array(0)),
      ciphertext: sha256(new Uint8Array(0)),
    })
  })
})

describe("a password", () => {
  test("is 344 characters of base64 for a 2048-bit key, and different each time", () => {
    const passwords = [1, 2].map(() => make({ size: 16, tail: "zero" }).encryptedPassword)
    for (const password of passwords) expect(password).toMatch(/^[A-Za-z0-9+/]{342}==$/)
    expect(new Set(passwords).size).toBe(2)
  })

  test("is 51 bytes that begin with version, algorithm and mode 1", () => {
    const wrapped = Buffer.from(make({ size: 16, tail: "zero" }).encryptedPassword, "base64")
    const password = privateDecrypt({ key: readFileSync(keyFile), oaepHash: "sha1" }, wrapped)
    expect(password).toHaveLength(51)
    expect([...password.subarray(0, 3)]).toEqual([1, 1, 1])
  })

  test("can be encrypted with SHA-256", async () => {
    const recording = make({ size: 752, tail: "none", oaepHash: "sha256" })
    expect((await decrypted(recording, "sha256")).plaintext.equals(content(752))).toBe(true)
  })

  test("encrypted with SHA-256 does not unwrap with SHA-1", async () => {
    await expect(decrypted(make({ size: 752, tail: "none", oaepHash: "sha256" }))).rejects.toThrow("pkeyutl")
  })
})

test("an archive's digests are known once it has been read", () => {
  const recording = make({ size: 752, tail: "none" })
  expect(() => recording.digests()).toThrow("read to its end")
  for (const chunk of recording.ciphertext) expect(chunk.length % 16).toBe(0)
  expect(recording.digests().ciphertext).toMatch(/^[0-9a-f]{64}$/)
})

describe("the openssl commands", () => {
  test.each(["openssl-zero", "openssl-pkcs7", "openssl-passphrase"])(
    "decrypt the vector %s",
    async (name) => {
      const file = (leaf: string) => new URL(`${name}/${leaf}`, vectors).pathname
      const destination = join(directory, `${name}.ts`)
      await decryptByOpenssl({
        encryptedPassword: readFileSync(file("password.b64"), "utf8"),
        keyFile: file("key.pem"),
        ...(name === "openssl-passphrase" ? { passphraseFile: file("key.passphrase") } : {}),
        source: file("archive.enc"),
        destination,
      })
      const filler = FILLERS[name === "openssl-pkcs7" ? "pkcs7" : "zero"](sample.length)
      expect(readFileSync(destination).equals(Buffer.concat([sample, filler]))).toBe(true)
    },
  )

  test("make a key that its passphrase protects", async () => {
    const files = { certificateFile: join(directory, "other.pem"), keyFile: join(directory, "protected.pem") }
    await createCertificate(files, { passphrase: "correct-horse" })
    const key = readFileSync(files.keyFile)
    expect(key.toString()).toMatch(/^-----BEGIN ENCRYPTED PRIVATE KEY-----/)
    expect(createPrivateKey({ key, passphrase: "correct-horse" }).asymmetricKeyType).toBe("rsa")
  })

  test("fail with openssl's own message", async () => {
    const files = { certificateFile: join(directory, "missing", "cert.pem"), keyFile }
    await expect(createCertificate(files)).rejects.toThrow(/openssl req failed .*missing/s)
  })
})
