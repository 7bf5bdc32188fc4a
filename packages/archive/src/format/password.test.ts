import { generateKeyPairSync, randomBytes } from "node:crypto"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { aes256Cbc } from "./cbc.ts"
import { createKeyRing, explainNoMatch, parsePrivateKey } from "./key-ring.ts"
import {
  decodeEncryptedPassword,
  encodePassword,
  type OaepHash,
  parsePassword,
  wipe,
  wrapPassword,
} from "./password.ts"

const never = new AbortController().signal
const pair = (modulusLength: number) => generateKeyPairSync("rsa", { modulusLength })
const pem = (key: ReturnType<typeof pair>["privateKey"]) =>
  Buffer.from(key.export({ type: "pkcs8", format: "pem" }))

const contentKey = { key: new Uint8Array(randomBytes(32)), iv: new Uint8Array(randomBytes(16)) }

describe("the password codec", () => {
  it("parses what it encodes, for any key and IV", () => {
    const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
    fc.assert(
      fc.property(bytes(32), bytes(16), (key, iv) => {
        const password = encodePassword({ key, iv })
        expect(password.length).toBe(51)
        expect([...password.subarray(0, 3)]).toEqual([1, 1, 1])
        expect(parsePassword(password)).toEqual({ envelope: aes256Cbc, key, iv })
      }),
    )
  })

  it.each([
    ["version", 0],
    ["algorithm", 1],
    ["mode", 2],
  ])("refuses another %s than 1 and says which it found", (name, index) => {
    const password = encodePassword(contentKey)
    password[index] = 7
    expect(() => parsePassword(password)).toThrow(
      expect.objectContaining({
        code: "ERR_PASSWORD_INVALID",
        message: expect.stringContaining(`${name} 7 is not supported`),
      }),
    )
  })

  it.each([0, 50, 52])("refuses %i bytes instead of 51", (size) => {
    expect(() => parsePassword(new Uint8Array(size))).toThrow(
      expect.objectContaining({
        code: "ERR_PASSWORD_INVALID",
        message: `unwrapped password is ${size} bytes, not 51`,
      }),
    )
  })

  it("ignores white space around and inside base64, as in handmade files", () => {
    const wrapped = randomBytes(256)
    const text = wrapped.toString("base64").replace(/(.{64})/g, "$1\n")
    expect(decodeEncryptedPassword(` ${text}\n`)).toEqual(wrapped)
  })

  it.each([
    ["", "is empty"],
    ["e42c...d23", "character 5 of 10 is outside its alphabet"],
    [`${"A".repeat(343)}`, "343 characters are not a multiple of 4"],
    [Buffer.alloc(95).toString("base64"), "is 95 bytes; RSA gives 96 to 2048"],
    [Buffer.alloc(2049).toString("base64"), "is 2049 bytes"],
  ])("refuses what is not an encrypted password: case %#", (text, message) => {
    expect(() => decodeEncryptedPassword(text)).toThrow(
      expect.objectContaining({ code: "ERR_PASSWORD_INVALID", message: expect.stringContaining(message) }),
    )
  })

  it("never repeats the text in a message", () => {
    const secret = `${randomBytes(200).toString("base64")}!`
    expect(() => decodeEncryptedPassword(secret)).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining(secret.slice(0, 12)) }),
    )
  })

  it("wipes secrets in place", () => {
    const secret = Uint8Array.of(1, 2, 3)
    wipe(secret, undefined)
    expect([...secret]).toEqual([0, 0, 0])
  })
})

describe("the key ring", () => {
  const first = pair(2048)
  const second = pair(2048)
  const large = pair(4096)
  const keys = [first, second, large].map(({ privateKey }, index) =>
    parsePrivateKey(pem(privateKey), `${index}.pem`),
  )

  it.each<[OaepHash, ReturnType<typeof pair>, number]>([
    ["sha1", first, 0],
    ["sha1", second, 1],
    ["sha256", large, 2],
  ])("unwraps with the key that fits (%s)", async (hash, { publicKey }, index) => {
    const wrapped = decodeEncryptedPassword(wrapPassword(encodePassword(contentKey), publicKey, hash))
    const unwrapped = await createKeyRing(keys, hash).unwrap(wrapped, never)
    expect(unwrapped?.keyId).toBe(keys[index]!.keyId)
    expect(parsePassword(unwrapped!.password)).toEqual({ envelope: aes256Cbc, ...contentKey })
  })

  it("answers null, not an error, for another certificate, another hash and a damaged password", async () => {
    const foreign = decodeEncryptedPassword(wrapPassword(encodePassword(contentKey), pair(2048).publicKey))
    const otherHash = decodeEncryptedPassword(
      wrapPassword(encodePassword(contentKey), first.publicKey, "sha256"),
    )
    const damaged = decodeEncryptedPassword(wrapPassword(encodePassword(contentKey), first.publicKey))
    damaged[100]! ^= 1
    const ring = createKeyRing(keys)
    for (const wrapped of [foreign, otherHash, damaged, randomBytes(255)])
      expect(await ring.unwrap(wrapped, never)).toBeNull()
  })

  it("explains in numbers why no key fits", () => {
    expect(explainNoMatch(createKeyRing([]), randomBytes(256))).toBe("the key ring is empty")
    expect(explainNoMatch(createKeyRing(keys), randomBytes(255))).toBe(
      "the encrypted password is 255 bytes; the keys take 256, 512",
    )
    expect(explainNoMatch(createKeyRing(keys.slice(0, 2)), randomBytes(256))).toBe(
      "none of 2 keys unwraps the password of 256 bytes",
    )
  })

  it("refuses a certificate, another kind of key and rubbish, each with its reason", () => {
    const elliptic = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey
    const cases: [string, string][] = [
      [
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "holds no PEM private key, only a certificate",
      ],
      [elliptic.export({ type: "pkcs8", format: "pem" }).toString(), "is a key of type ec, not rsa"],
      ["-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "can't be read as a private key"],
      ["rubbish", "holds no PEM private key"],
    ]
    for (const [text, message] of cases)
      expect(() => parsePrivateKey(Buffer.from(text), "k.pem")).toThrow(
        expect.objectContaining({ code: "ERR_KEY_INVALID", message: expect.stringContaining(message) }),
      )
  })
})
