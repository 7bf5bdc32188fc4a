/** Archives in envelopes that exist only here: a row of the table is all that the rest needs to know. */

import { createHash, generateKeyPairSync, randomBytes } from "node:crypto"
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { crc32 } from "node:zlib"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { poisoned } from "../../../../../test/harness/poisoned.ts"
import { aes256Ctr, aes256Gcm, encrypt, rows, TAG_SIZE } from "../../../../../test/harness/runs/envelopes.ts"
import { memoryCheckpoint } from "../../../../../test/harness/runs/memory-checkpoint.ts"
import { aes256Cbc } from "../../format/cbc.ts"
import { formatCrc32 } from "../../format/crc32.ts"
import type { ContentKey, Envelope } from "../../format/envelope.ts"
import { createKeyRing, parsePrivateKey } from "../../format/key-ring.ts"
import { encodePassword, generateContentKey, parsePassword, wrapPassword } from "../../format/password.ts"
import type { ArchiveStore } from "../../store/contract.ts"
import { openStore } from "../../store/open.ts"
import { openInTwo } from "../../store/open-in-two.ts"
import { type ArchiveRequest, type DecryptOptions, decryptArchive } from "../archive.ts"
import { createByteBudget } from "../budget.ts"

const PART = 20 * 752
const KEY = "p/a/archive.ts"
const never = new AbortController().signal
const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
const keyRing = createKeyRing([
  parsePrivateKey(Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" })), "k.pem"),
])
const hex = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

/** Whole packets, followed by an incomplete one. */
function transportStream(size: number): Buffer {
  const stream = randomBytes(size)
  for (let at = 0; at < size; at += 188) stream[at] = at + 188 <= size ? 0x47 : 0
  return stream
}

let root: string
let source: ArchiveStore
let destination: ArchiveStore
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "unseal-envelopes-"))
})
afterAll(() => rm(root, { recursive: true }))
beforeEach(async () => {
  const open = async (name: string) => {
    await rm(join(root, name), { recursive: true, force: true })
    await mkdir(join(root, name))
    return poisoned(await openStore(pathToFileURL(join(root, name)).href, { env: {}, partSizeBytes: PART }))
  }
  source = await open("source")
  destination = await open("destination")
  await mkdir(join(root, "source/p/a"), { recursive: true })
})

const put = (bytes: Uint8Array) => writeFile(join(root, "source", KEY), bytes)
const get = () => readFile(join(root, "destination", KEY))
const visible = async () => {
  const names = await readdir(join(root, "destination"), { recursive: true })
  return names.filter((name) => /^p\/a\/[^.]/.test(name)).sort()
}

function setup(contentKey: ContentKey, more: Partial<ArchiveRequest & DecryptOptions> = {}) {
  const encryptedPassword = wrapPassword(encodePassword(contentKey), publicKey)
  return {
    ...{ archiveId: "a", projectId: "p", encryptedPassword, source, destination },
    ...{ sourceKeys: [KEY], destinationKey: KEY, keyRing, budget: createByteBudget(3 * PART) },
    ...({ tail: "keep", digest: "sha256", existing: "fail", record: true } as const),
    ...more,
  }
}
const run = (asked: ReturnType<typeof setup>) => decryptArchive(asked, asked, never)

/** Records the archive's calls to `destination`, and reads from `source`. Writing part `dieAt` fails. */
function watched(dieAt?: number) {
  const calls: string[] = []
  const reads: string[] = []
  const store: ArchiveStore = {
    ...destination,
    async create(key, size, create, signal) {
      const writer = await destination.create(key, size, create, signal)
      if (key !== KEY) return writer
      calls.push(create.token === undefined ? "begin" : "resume")
      return {
        ...writer,
        writePart(number, ...part) {
          if (number === dieAt) throw new Error("killed")
          calls.push(`write ${number}`)
          return writer.writePart(number, ...part)
        },
      }
    },
  }
  const watchedSource: ArchiveStore = {
    ...source,
    open: (...asked) => openInTwo(watchedSource, ...asked),
    async *read(object, range, signal) {
      reads.push(`${range.start}-${range.end}`)
      yield* source.read(object, range, signal)
    },
  }
  return { calls, reads, destination: store, source: watchedSource }
}

describe.each(rows)("an archive in AES-256-$mode.name", (envelope) => {
  test.each([
    ["of one packet", 188],
    ["of one part", PART],
    ["of one part and a byte", PART + 1],
    ["of four parts, whole packets", 3 * PART + 5 * 188],
    ["of four parts, the last packet cut", 3 * PART + 6 * 188 - 8],
  ])("%s is decrypted, and its record says what it is", async (_, size) => {
    const contentKey = generateContentKey(envelope)
    const plaintext = transportStream(size)
    const ciphertext = encrypt(contentKey, plaintext)
    await put(ciphertext)
    for (const tail of ["keep", "trim"] as const) {
      const sha256sum = createHash("sha256").update(ciphertext).digest("base64")
      const announced = { size, sha256sum }
      const strict = { announced, announcedSize: "require", announcedDigest: "require" } as const
      const { outcome, record } = await run(setup(contentKey, { tail, existing: "replace", ...strict }))
      expect(outcome).toBe("committed")
      expect(Buffer.compare(await get(), plaintext)).toBe(0)
      expect(record).toMatchObject({
        crc32: formatCrc32(crc32(plaintext)),
        sha256: { plaintext: hex(plaintext), ciphertext: hex(ciphertext), announced: "ciphertext" },
        tail: { form: size % 188 === 0 ? "unpadded" : "irregular", padding: 0 },
        media: { packets: Math.floor(size / 188), syncErrors: 0 },
        announced: { size, fits: true },
      })
    }
  })

  test.each(["none", "sha256"] as const)("is resumed, with the digest %s", async (digest) => {
    const contentKey = generateContentKey(envelope)
    const plaintext = transportStream(3 * PART + 1001)
    const ciphertext = encrypt(contentKey, plaintext)
    await put(ciphertext)
    const checkpoint = memoryCheckpoint()
    const one = { digest, checkpoint, budget: createByteBudget(1) }
    const first = watched(3)
    await expect(run(setup(contentKey, { ...one, ...first }))).rejects.toThrow("killed")
    expect(first.calls).toEqual(["begin", "write 1", "write 2"])
    expect(await visible()).toEqual([])

    const second = watched()
    const { record } = await run(setup(contentKey, { ...one, ...second }))
    expect(second.calls).toEqual(["resume", "write 3", "write 4"])
    const parts = [1, 2, 3].map((number) => `${(number - 1) * PART}-${number * PART}`)
    const all = [...parts, `${3 * PART}-${ciphertext.length}`]
    // Like a digest, a tag needs the whole archive.
    const isWhole = digest === "sha256" || envelope === aes256Gcm
    expect(second.reads).toEqual(isWhole ? all : all.slice(2))
    expect(Buffer.compare(await get(), plaintext)).toBe(0)
    expect(record.crc32).toBe(formatCrc32(crc32(plaintext)))
  })

  test("is refused under a wrong key before an upload begins", async () => {
    await put(encrypt(generateContentKey(envelope), transportStream(2 * PART)))
    const { calls, ...stores } = watched()
    await expect(run(setup(generateContentKey(envelope), stores))).rejects.toMatchObject({
      code: "ERR_NOT_MPEG_TS",
    })
    expect(calls).toEqual([])
  })

  test("that is shorter than announced is waited for", async () => {
    const contentKey = generateContentKey(envelope)
    await put(encrypt(contentKey, transportStream(PART)).subarray(0, -188))
    const announced = { size: PART }
    await expect(run(setup(contentKey, { announced, announcedSize: "require" }))).rejects.toMatchObject({
      code: "ERR_OBJECT_INCOMPLETE",
    })
  })

  test("without bytes is empty", async () => {
    await put(new Uint8Array(0))
    expect((await run(setup(generateContentKey(envelope)))).outcome).toBe("empty")
  })
})

describe("an archive with an authentication tag", () => {
  test.each([
    ["in its first part", 5000],
    ["in its last part", 3 * PART + 900],
    ["in its tag", -1],
  ])("and a changed bit %s never becomes visible", async (_, at) => {
    const contentKey = generateContentKey(aes256Gcm)
    const ciphertext = encrypt(contentKey, transportStream(3 * PART + 1001))
    ciphertext[at < 0 ? ciphertext.length + at : at]! ^= 1
    await put(ciphertext)
    for (const digest of ["none", "sha256"] as const)
      await expect(run(setup(contentKey, { digest }))).rejects.toMatchObject({
        code: "ERR_CIPHERTEXT_INVALID",
        message: "the authentication tag is another",
      })
    expect(await visible()).toEqual([])
  })

  test("that has nothing else is refused, with its size", async () => {
    await put(randomBytes(TAG_SIZE))
    await expect(run(setup(generateContentKey(aes256Gcm)))).rejects.toMatchObject({
      code: "ERR_CIPHERTEXT_INVALID",
      message: `${KEY} of 16 bytes is no more than an authentication tag`,
    })
  })
})

describe("a password", () => {
  const passwordOf = (envelope: Envelope, ...header: number[]) => {
    const password = encodePassword(generateContentKey(envelope))
    password.set(header)
    return password
  }
  const refusal = (password: Uint8Array) => {
    try {
      parsePassword(password)
    } catch (error) {
      return error
    }
  }

  test.each([
    ["version", [2, 1, 1], "password version 2 is not supported, only 1"],
    ["algorithm", [1, 5, 1], "password algorithm 5 is not supported, only 1 (AES-256)"],
    ["mode", [1, 1, 0], "password mode 0 is not supported, only 1 (CBC), 2 (CTR), and 3 (GCM)"],
  ])("of an unknown %s is refused with what was found and what is known", (_, header, message) => {
    expect(refusal(passwordOf(aes256Cbc, ...header))).toMatchObject({
      code: "ERR_PASSWORD_INVALID",
      message,
      remedy: "update Unseal to a release that opens such archives, then try again",
    })
  })

  test("of an unknown size is refused with the known sizes", () => {
    const message = "unwrapped password is 50 bytes, not 51 or 47"
    expect(refusal(new Uint8Array(50))).toMatchObject({ code: "ERR_PASSWORD_INVALID", message })
  })

  test("with the size of another envelope is refused", () => {
    const message = "unwrapped password is 47 bytes, not 51"
    expect(refusal(passwordOf(aes256Gcm, 1, 1, 1))).toMatchObject({ code: "ERR_PASSWORD_INVALID", message })
  })
})

test("an upload whose parts don't suit the envelope is started over", async () => {
  const contentKey = generateContentKey(aes256Ctr)
  const plaintext = transportStream(4 * PART)
  await put(encrypt(contentKey, plaintext))
  const checkpoint = memoryCheckpoint()
  const first = watched(3)
  await expect(run(setup(contentKey, { checkpoint, ...first }))).rejects.toThrow("killed")

  const directory = join(root, "destination/p/a")
  const journal = (await readdir(directory)).find((name) => name.endsWith(".parts"))!
  const text = await readFile(join(directory, journal), "utf8")
  await writeFile(join(directory, journal), text.replace(` ${PART}\n`, ` ${PART + 8}\n`))
  const second = watched()
  await run(setup(contentKey, { checkpoint, ...second }))
  expect(second.calls.slice(0, 2)).toEqual(["resume", "begin"])
  expect(Buffer.compare(await get(), plaintext)).toBe(0)
  expect(await Array.fromAsync(destination.openUploads(never))).toEqual([])
})
