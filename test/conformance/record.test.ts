/** The record of a decryption that two runs of one job write. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type ArchiveRecord, recordKeyOf } from "@unseal/archive/record/record"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { readSmallObject } from "@unseal/archive/store/small-object"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import { writeRecord } from "../../packages/archive/src/record/committed.ts"
import { poisoned } from "../harness/poisoned.ts"

const never = new AbortController().signal
const credential = {
  accessKeyId: "UNSEALTESTACCESSKEY",
  secretAccessKey: "a-secret-access-key-0123456789abcdef",
}

const RECORD: ArchiveRecord = {
  version: 1,
  ...{ archiveId: "a", projectId: "100001" },
  source: { key: "a.ts", size: 752, etag: "11111111111111111111111111111111" },
  destination: { key: "p/a/archive.ts", size: 752, etag: "22222222222222222222222222222222" },
  crc32: "00000000",
  tail: { form: "unpadded", padding: 0 },
  media: { packets: 4, syncErrors: 0 },
  ...{ startedAt: "2026-01-01T00:00:00.000Z", finishedAt: "2026-01-01T00:00:01.000Z" },
  ...{ attempts: 1, unsealVersion: "0.1.0" },
}

interface Opened {
  readonly store: OpenedStore
  close(): Promise<unknown>
}

const STORES: Readonly<Record<string, () => Promise<Opened>>> = {
  async "a directory"() {
    const path = await mkdtemp(join(tmpdir(), "unseal-record-"))
    const store = poisoned(await openStore(`file://${path}`, { env: {} }))
    return { store, close: () => store.close().then(() => rm(path, { recursive: true })) }
  },
  async "S3, whose ETags are MD5"() {
    const server = await startS3Server({ credentials: [credential], buckets: ["archives"], etags: "md5" })
    const url = `s3://archives?${new URLSearchParams({ endpoint: server.url, region: "us-east-1" })}`
    const store = poisoned(await openStore(url, { env: {}, credentials: credential }))
    return { store, close: () => store.close().then(() => server.close()) }
  },
}

describe.each(Object.entries(STORES))("a record in %s", (_, open) => {
  let opened: Opened

  beforeAll(async () => {
    opened = await open()
  })
  afterAll(() => opened?.close())

  async function written(): Promise<ArchiveRecord> {
    const { store } = opened
    const object = await store.stat(recordKeyOf(RECORD.destination.key), never)
    return JSON.parse(
      Buffer.from(await readSmallObject(store, object!, 65_536, never)).toString(),
    ) as ArchiveRecord
  }
  const write = (record: ArchiveRecord) => writeRecord(opened.store, record, never)

  it("stays that of the first run, whatever the length of the second's", async () => {
    await write(RECORD)
    await write({ ...RECORD, finishedAt: "2026-01-01T00:00:09.000Z" })
    expect(await written()).toEqual(RECORD)
    await write({ ...RECORD, attempts: 100 })
    expect(await written()).toEqual(RECORD)
  })

  it("is replaced by that of another version of the object, or of another source", async () => {
    const replaced = { ...RECORD, destination: { ...RECORD.destination, etag: "3".repeat(32) } }
    await write(replaced)
    expect(await written()).toEqual(replaced)
    const again = { ...replaced, source: { ...RECORD.source, etag: "4".repeat(32) } }
    await write(again)
    expect(await written()).toEqual(again)
  })
})
