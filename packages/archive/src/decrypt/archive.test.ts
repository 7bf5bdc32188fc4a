import { createCipheriv, createDecipheriv, createHash, generateKeyPairSync, randomBytes } from "node:crypto"
import { writeFileSync } from "node:fs"
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { pathToFileURL } from "node:url"
import { crc32 } from "node:zlib"
import fc from "fast-check"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { memoryCheckpoint } from "../../../../test/harness/memory-checkpoint.ts"
import { poisoned } from "../../../../test/harness/poisoned.ts"
import { type ErrorCode, UnsealError } from "../errors.ts"
import { formatCrc32 } from "../format/crc32.ts"
import { createKeyRing, parsePrivateKey } from "../format/key-ring.ts"
import { encodePassword, wrapPassword } from "../format/password.ts"
import type { ArchiveStore, CreateOptions, PartWriter, StoredObject } from "../store/contract.ts"
import { openStore } from "../store/open.ts"
import { openInTwo } from "../store/open-in-two.ts"
import { choosePartSize } from "../store/s3/multipart.ts"
import { writeWhole } from "../store/small-object.ts"
import { type ArchiveRequest, type DecryptOptions, decryptArchive } from "./archive.ts"
import { type ByteBudget, createByteBudget } from "./budget.ts"
import type { Checkpoint, CheckpointLog, PartReceipt } from "./checkpoint.ts"

const PART = 88 * 752
const KEY = "p/a/archive.ts"
const never = new AbortController().signal
const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
const keyRing = createKeyRing([
  parsePrivateKey(Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" })), "k.pem"),
])

/** `size` bytes with a sync byte every 188. */
function transportStream(size: number): Buffer {
  const stream = randomBytes(size)
  for (let at = 0; at < size; at += 188) stream[at] = 0x47
  return stream
}

function encrypt(plaintext: Uint8Array, header = [1, 1, 1]) {
  const key = randomBytes(32)
  const iv = randomBytes(16)
  const cipher = createCipheriv("aes-256-cbc", key, iv).setAutoPadding(false)
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
  const password = encodePassword({ key, iv })
  password.set(header)
  return { ciphertext, encryptedPassword: wrapPassword(password, publicKey) }
}

let root: string
let source: ArchiveStore
let destination: ArchiveStore
let count = 0

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "unseal-decrypt-"))
})
afterAll(() => rm(root, { recursive: true }))
beforeEach(async () => {
  count++
  for (const name of ["source", "destination"])
    await mkdir(join(root, String(count), name), { recursive: true })
  const open = async (name: string) =>
    poisoned(
      await openStore(pathToFileURL(join(root, String(count), name)).href, { env: {}, partSizeBytes: PART }),
    )
  source = await open("source")
  destination = await open("destination")
})

const pathOf = (store: "source" | "destination", key: string) => join(root, String(count), store, key)
async function put(store: "source" | "destination", key: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(pathOf(store, key)), { recursive: true })
  await writeFile(pathOf(store, key), bytes)
}
const get = (key = KEY) => readFile(pathOf("destination", key))
const record = async () => JSON.parse((await get("p/a/archive.json")).toString())
/** Every file below the destination, hidden ones too. */
const leftovers = async () =>
  (await readdir(join(root, String(count), "destination"), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name)
    .sort()

const request = (encryptedPassword: string, more: Partial<ArchiveRequest> = {}): ArchiveRequest => ({
  archiveId: "b40ef09b-3811-4726-b508-e41a0f96c68f",
  projectId: "123456",
  encryptedPassword,
  source,
  sourceKeys: ["absent.ts", KEY],
  destination,
  destinationKey: KEY,
  ...more,
})
const options = (more: Partial<DecryptOptions> = {}): DecryptOptions => ({
  keyRing,
  budget: createByteBudget(3 * PART),
  tail: "keep",
  digest: "sha256",
  existing: "fail",
  record: true,
  ...more,
})

/** A store that counts its calls. `fail` chooses which of them fail, and how. */
function watched(store: ArchiveStore, fail: (call: string) => void = () => {}) {
  const calls: string[] = []
  const note = (call: string) => {
    calls.push(call)
    fail(call)
  }
  const watchWriter = (writer: PartWriter): PartWriter => ({
    token: writer.token,
    resumable: writer.resumable,
    keepsBodies: writer.keepsBodies,
    partSize: writer.partSize,
    written: (signal) => writer.written(signal),
    async writePart(number, body, crc, signal) {
      note(`write ${number}`)
      return writer.writePart(number, body, crc, signal)
    },
    async complete(parts, signal) {
      note("complete")
      const object = await writer.complete(parts, signal)
      note("completed")
      return object
    },
    abort: () => writer.abort(),
  })
  const watchedStore: ArchiveStore = {
    ...store,
    open: (key, length, signal) => openInTwo(watchedStore, key, length, signal),
    async *read(object, range, signal) {
      note(`read ${range.start}-${range.end}`)
      yield* store.read(object, range, signal)
    },
    async create(key, size, create, signal) {
      if (key === KEY) note(create.token === undefined ? "create" : "resume")
      const writer = await store.create(key, size, create, signal)
      return key === KEY ? watchWriter(writer) : writer
    },
  }
  return { store: watchedStore, calls, writes: () => calls.filter((call) => call.startsWith("write")) }
}

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
  ])("refuses what claims to be of %s, at the cost of a small one", async (_, size, message) => {
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
      partSizeFor: (size) => choosePartSize(size, 8 * 1024 * 1024),
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
  ])("tells an object that is %s from a whole one", async (_, kept, missing) => {
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
        "a wrapped password of another length than the keys'",
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
      ["that is no whole number of blocks", encryptedPassword, "ERR_CIPHERTEXT_INVALID"],
      ["whose destination does not answer", encryptedPassword, "ERR_STORE_UNAVAILABLE"],
      ["that is committed already", encryptedPassword, undefined],
    ])("is let go of for an archive %s", async (title, password, code) => {
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
    await writeWhole(destination, KEY, bytes, contentType, never, { metadata })
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

  it("is mended also if the run that was lied to was killed before it could look", async () => {
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

describe("a byte budget", () => {
  const KIB = 1024
  it("is granted in the order of asking, and a large wish is not overtaken by small ones", async () => {
    const budget = createByteBudget(160 * KIB)
    const order: string[] = []
    const asked = async (bytes: number, name: string) => {
      const memory = await budget.acquire(bytes, never)
      order.push(name)
      return memory
    }
    const first = await budget.acquire(64 * KIB, never)
    const large = asked(128 * KIB, "large")
    const small = asked(16 * KIB, "small")
    await new Promise(setImmediate)
    expect(order).toEqual([])
    first.release()
    first.release()
    ;(await large).release()
    ;(await small).release()
    expect(order).toEqual(["large", "small"])
    expect(budget.holders).toBe(0)
  })

  it("lends memory that was forfeited to nobody, and its bytes to the next", async () => {
    const budget = createByteBudget(64 * KIB)
    const first = await budget.acquire(64 * KIB, never)
    const seen = first.bytes.fill(1)
    first.forfeit()
    first.release()
    const second = await budget.acquire(64 * KIB, never)
    second.bytes.fill(2)
    expect(seen.every((byte) => byte === 1)).toBe(true)
    second.release()
    expect((await budget.acquire(64 * KIB, never)).bytes[0]).toBe(2)
    expect(budget.holders).toBe(1)
  })

  it("grants a request above its limit alone, and forgets one that was aborted", async () => {
    const budget = createByteBudget(16 * KIB)
    const memory = await budget.acquire(100 * KIB, never)
    expect(memory.bytes.length).toBe(100 * KIB)
    const giveUp = new AbortController()
    const waiting = budget.acquire(1, giveUp.signal)
    giveUp.abort(new Error("enough"))
    await expect(waiting).rejects.toThrow("enough")
    memory.release()
    expect(budget.holders).toBe(0)
    ;(await budget.acquire(10, never)).release()
  })

  it("reuses memory, never twice at once, and lends none after it was given back", async () => {
    const budget = createByteBudget(4 * 1024 * KIB)
    const first = await budget.acquire(1000 * KIB, never)
    const second = await budget.acquire(1000 * KIB, never)
    const buffer = first.bytes.buffer
    expect(second.bytes.buffer).not.toBe(buffer)
    first.release()
    expect(() => first.bytes).toThrow("given back")
    const third = await budget.acquire(900 * KIB, never)
    expect(third.bytes.buffer).toBe(buffer)
    expect(third.bytes.length).toBe(900 * KIB)
  })

  it.each([
    ["parts", 1],
    ["parts with their ciphertext", 2],
  ])("of eight times 5 MiB holds eight %s that were rounded up to 752 bytes", async (_, copies) => {
    const size = copies * 5 * 1024 * KIB
    const rounded = copies * (5 * 1024 * KIB + 64)
    const budget = createByteBudget(8 * size)
    const asked = Array.from({ length: 8 }, () => budget.acquire(rounded, never))
    expect(budget.holders).toBe(8)
    const parts = await Promise.all(asked)
    expect(new Set(parts.map(({ bytes }) => bytes.buffer)).size).toBe(8)
    for (const { bytes } of parts) expect(bytes.length).toBe(rounded)
    const giveUp = new AbortController()
    const ninth = budget.acquire(1, giveUp.signal)
    expect(budget.holders).toBe(8)
    giveUp.abort(new Error("enough"))
    await expect(ninth).rejects.toThrow("enough")
  })

  it("reuses a slab for a part that was rounded up and for one that was not", async () => {
    const budget = createByteBudget(5 * 1024 * KIB)
    const buffers = new Set<ArrayBufferLike>()
    for (const size of [5 * 1024 * KIB, 5 * 1024 * KIB + 64, 5 * 1024 * KIB - 752]) {
      const memory = await budget.acquire(size, never)
      expect(memory.bytes.length).toBe(size)
      buffers.add(memory.bytes.buffer)
      memory.release()
    }
    expect(buffers.size).toBe(1)
  })

  it("holds no more memory than its limit and each slab's spare bytes, whatever sizes are requested", async () => {
    const limit = 4 * 1024 * KIB
    const budget = createByteBudget(limit)
    const buffers = new Set<ArrayBufferLike>()
    for (const mebibytes of [1, 2, 3, 4, 1, 3, 2]) {
      const memory = await budget.acquire(mebibytes * 1024 * KIB, never)
      buffers.add(memory.bytes.buffer)
      memory.release()
      // A discarded slab was detached, so its memory is gone at once.
      const held = [...buffers].filter((buffer) => buffer.byteLength > 0)
      const bytes = held.reduce((sum, buffer) => sum + buffer.byteLength, 0)
      expect(bytes).toBeLessThanOrEqual(limit + held.length * 2 * 752)
    }
  })
})
