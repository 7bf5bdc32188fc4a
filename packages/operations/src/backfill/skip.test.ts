/** What a record, or its absence, says about a line of a manifest. The store counts how often it is asked. */
import { hash, randomUUID } from "node:crypto"
import { UnsealError } from "@unseal/archive/errors"
import type { ArchiveRecord } from "@unseal/archive/record/record"
import type { ArchiveStore, StoredObject } from "@unseal/archive/store/contract"
import { expect, test } from "vitest"
import { type ClaimedArchive, isDone } from "./skip.ts"

const never = new AbortController().signal
const digest = (text: string) => hash("sha256", text, "hex")
const base64 = (text: string) => hash("sha256", text, "base64")
const archiveId = randomUUID()
const archive: ClaimedArchive = { projectId: "100001", archiveId }
const key = `100001/${archiveId}/archive.ts`
const recordKey = `100001/${archiveId}/archive.json`

const record = (fields: Partial<ArchiveRecord> = {}): ArchiveRecord => ({
  version: 1,
  ...{ archiveId, projectId: "100001" },
  source: { key: `100001/${archiveId}/archive.mp4`, size: 1_520, etag: "s1" },
  destination: { key, size: 1_504, etag: "d1" },
  crc32: "00000000",
  sha256: { plaintext: digest("plaintext"), ciphertext: digest("ciphertext"), announced: "ciphertext" },
  tail: { form: "pkcs7", padding: 16 },
  media: { packets: 8, syncErrors: 0 },
  ...{ startedAt: "2026-01-01T00:00:00.000Z", finishedAt: "2026-01-01T00:00:01.000Z" },
  ...{ attempts: 1, unsealVersion: "0.1.0", ...fields },
})

/** A store with `objects`, and every request to it. */
function place(objects: Readonly<Record<string, string | UnsealError | StoredObject>>) {
  const asked: string[] = []
  const store: Pick<ArchiveStore, "open" | "stat"> = {
    async open(wanted, length) {
      asked.push(`open ${wanted}`)
      const found = objects[wanted]
      if (found instanceof UnsealError) throw found
      if (typeof found !== "string") return null
      const bytes = Buffer.from(found)
      async function* head() {
        yield bytes.subarray(0, length)
      }
      const object = { key: wanted, size: bytes.length, etag: "e", metadata: {} }
      return { object, head: head(), close: () => void asked.push("closed") }
    },
    async stat(wanted) {
      asked.push(`stat ${wanted}`)
      const found = objects[wanted]
      return typeof found === "object" && !(found instanceof UnsealError) ? found : null
    },
  }
  return { asked, at: store }
}
const withRecord = (fields?: Partial<ArchiveRecord>) =>
  place({ [recordKey]: JSON.stringify(record(fields)) }).at

test("an archive with a record is done, which takes one request", async () => {
  const { asked, at } = place({ [recordKey]: JSON.stringify(record()) })
  expect(await isDone(archive, at, key, never)).toEqual({
    ...{ destinationKey: key, sourceSize: 1_520, sourceEtag: "s1", finishedAt: "2026-01-01T00:00:01.000Z" },
  })
  expect(asked).toEqual([`open ${recordKey}`])
})

test("an archive without a record is not done, which takes one request as well", async () => {
  const { asked, at } = place({ [key]: "plaintext of another run" })
  expect(await isDone(archive, at, key, never)).toBeNull()
  expect(asked).toEqual([`open ${recordKey}`])
})

test.for<[string, Partial<ClaimedArchive>, Partial<ArchiveRecord>, boolean]>([
  ["the ciphertext's size", { size: 1_520 }, {}, true],
  ["the plaintext's size", { size: 1_504 }, {}, true],
  ["the plaintext's size, give or take a block", { size: 1_488 }, {}, true],
  ["a smaller size", { size: 1_487 }, {}, false],
  ["a larger size", { size: 1_537 }, {}, false],
  ["a size that was accepted before", { size: 9 }, { announced: { size: 9, fits: false } }, true],
  ["the ciphertext's digest", { sha256sum: base64("ciphertext") }, {}, true],
  ["the plaintext's digest", { sha256sum: base64("plaintext") }, {}, true],
  ["another digest", { sha256sum: base64("another") }, {}, false],
  ["no digest yet", { sha256sum: "" }, {}, true],
  ["a digest that the record can't compare", { sha256sum: base64("a") }, { sha256: undefined! }, true],
  [
    "a digest that may be the ciphertext's",
    { sha256sum: base64("a") },
    { sha256: { plaintext: digest("b") } },
    true,
  ],
  ["the key that was read", { sourceKey: `100001/${archiveId}/archive.mp4` }, {}, true],
  ["another key", { sourceKey: "old/a.ts" }, {}, false],
  ["a size that fits and another digest", { size: 1_520, sha256sum: base64("another") }, {}, false],
])("a line with %s", async ([, claimed, fields, isSkipped], { expect }) => {
  expect((await isDone({ ...archive, ...claimed }, withRecord(fields), key, never)) !== null).toBe(isSkipped)
})

test.for<[string, Partial<ArchiveRecord>]>([
  ["of another project", { projectId: "100002" }],
  ["of another archive", { archiveId: randomUUID() }],
  ["of an object elsewhere", { destination: { key: "100001/a.ts", size: 1_504, etag: "d1" } }],
  ["of a later version of Unseal", { version: 2 as 1 }],
])("a record %s proves nothing", async ([, fields], { expect }) => {
  expect(await isDone(archive, withRecord(fields), key, never)).toBeNull()
})

test.for<[string, string]>([
  ["is empty", ""],
  ["is cut off", JSON.stringify(record()).slice(0, -1)],
  ["is no JSON", "<html>"],
  ["is no record", '{"archiveId":"a"}'],
  ["is a list", "[]"],
  ["is too long", `${JSON.stringify(record())}${" ".repeat(70_000)}`],
])("a record that %s proves nothing", async ([, text], { expect }) => {
  const { asked, at } = place({ [recordKey]: text })
  expect(await isDone(archive, at, key, never)).toBeNull()
  expect(asked.filter((one) => one !== "closed")).toEqual([`open ${recordKey}`])
})

test("a record that disappears while it is read counts as absent", async () => {
  const { at } = place({ [recordKey]: new UnsealError("ERR_OBJECT_NOT_FOUND", "it is gone") })
  expect(await isDone(archive, at, key, never)).toBeNull()
})

test.for(["ERR_STORE_DENIED", "ERR_STORE_UNAVAILABLE", "ERR_STORE_BUSY"] as const)(
  "%s says nothing about the archive, and is passed on",
  async (code, { expect }) => {
    const { at } = place({ [recordKey]: new UnsealError(code, "the store's own trouble") })
    await expect(isDone(archive, at, key, never)).rejects.toThrow(expect.objectContaining({ code }))
  },
)

test("for a record that a lifecycle rule has archived, the marks of its archive count", async () => {
  const archived = new UnsealError("ERR_OBJECT_ARCHIVED", "it is in GLACIER")
  const marks = (fields: Readonly<Record<string, string>> = {}) => {
    const metadata = {
      ...{ "unseal-project": "100001", "unseal-archive": archiveId, "unseal-source-etag": "s1" },
      ...{ "unseal-source-size": "1520", "unseal-tail": "keep", ...fields },
    }
    return place({ [recordKey]: archived, [key]: { key, size: 1_504, etag: "d1", metadata } })
  }
  const { asked, at } = marks()
  const skip = { destinationKey: key, sourceSize: 1_520, sourceEtag: "s1" }
  expect(await isDone({ ...archive, size: 1_520 }, at, key, never)).toEqual(skip)
  expect(asked).toEqual([`open ${recordKey}`, `stat ${key}`])
  expect(await isDone({ ...archive, size: 1_504 }, at, key, never)).toBeNull()
  expect(await isDone({ ...archive, sha256sum: base64("ciphertext") }, at, key, never)).toBeNull()
  expect(await isDone({ ...archive, sourceKey: "old/a.ts" }, at, key, never)).toBeNull()
  for (const wrong of [
    { "unseal-project": "100002" },
    { "unseal-archive": randomUUID() },
    { "unseal-source-size": "many" },
  ])
    expect(await isDone(archive, marks(wrong).at, key, never)).toBeNull()
  expect(await isDone(archive, place({ [recordKey]: archived }).at, key, never)).toBeNull()
})
