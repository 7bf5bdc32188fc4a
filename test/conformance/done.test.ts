/** The requests that show that an archive is done: those of a feeder, and those of a worker that gets it anyway. */
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { writeSmallObject } from "@unseal/archive/store/small-object"
import { isDone } from "@unseal/operations/backfill/skip"
import { afterAll, beforeAll, expect, it } from "vitest"
import { type S3Server, startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import { decryptArchive } from "../../packages/archive/src/decrypt/archive.ts"
import { poisoned } from "../harness/poisoned.ts"
import { encrypt, KEY, never, options, PART, request, transportStream } from "../harness/runs/archive-run.ts"

const credential = {
  accessKeyId: "UNSEALTESTACCESSKEY",
  secretAccessKey: "a-secret-access-key-0123456789abcdef",
}
const { ciphertext, encryptedPassword } = encrypt(transportStream(3 * PART))

let server: S3Server
let source: OpenedStore
let destination: OpenedStore
beforeAll(async () => {
  const buckets = ["recordings", "decrypted"]
  server = await startS3Server({ credentials: [credential], buckets })
  const open = async (bucket: string) => {
    const url = `s3://${bucket}?${new URLSearchParams({ endpoint: server.url, region: "us-east-1" })}`
    return { ...poisoned(await openStore(url, { env: {}, credentials: credential })), close: async () => {} }
  }
  source = await open("recordings")
  destination = await open("decrypted")
})
afterAll(() => server?.close())

/** The requests that `work` makes, by operation and object. */
async function requestsOf(work: () => Promise<unknown>): Promise<string[]> {
  server.operations.clear()
  await work()
  return server.operations.entries().map(({ operation, bucket, key }) => `${operation} ${bucket}/${key}`)
}

it("costs a feeder one request, and a worker three, including one to the source", async () => {
  await writeSmallObject(source, KEY, ciphertext, "video/mp2t", never)
  const asked = { ...request(encryptedPassword), sourceKeys: [KEY], source, destination }
  const { outcome, record } = await decryptArchive(asked, options(), never)
  expect(outcome).toBe("committed")

  const { projectId, archiveId } = asked
  const line = { projectId, archiveId, size: ciphertext.length }
  const skipping = await requestsOf(async () => {
    const { etag: sourceEtag, size: sourceSize } = record.source
    expect(await isDone(line, destination, KEY, never)).toEqual({
      ...{ destinationKey: KEY, sourceSize, sourceEtag, finishedAt: record.finishedAt },
    })
  })
  expect(skipping).toEqual(["GetObject decrypted/p/a/archive.json"])

  const working = await requestsOf(async () => {
    expect(await decryptArchive(asked, options(), never)).toEqual({ outcome: "already-committed", record })
  })
  expect(working.toSorted()).toEqual([
    "GetObject decrypted/p/a/archive.json",
    `GetObject recordings/${KEY}`,
    `HeadObject decrypted/${KEY}`,
  ])
})

it("costs a feeder one request for an archive that is not done", async () => {
  const line = { projectId: "123456", archiveId: "b40ef09b-3811-4726-b508-e41a0f96c68e" }
  const key = `${line.projectId}/${line.archiveId}.ts`
  // After the first absent object, the store is asked once a minute whether there is a bucket.
  await isDone(line, destination, key, never)
  const asked = await requestsOf(async () => expect(await isDone(line, destination, key, never)).toBeNull())
  expect(asked).toEqual([`GetObject decrypted/${line.projectId}/${line.archiveId}.json`])
})
