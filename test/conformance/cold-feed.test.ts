/** A backfill's feeder over archived objects: they are asked back, and enqueued as they come. Its hours pass in a moment. */
import { randomUUID } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { writeSmallObject } from "@unseal/archive/store/small-object"
import { type BackfillFeed, openFeed } from "@unseal/operations/backfill/feed/feed"
import type { RestorerOptions } from "@unseal/operations/backfill/restore"
import { type GivenLine, startBackfill } from "@unseal/operations/backfill/start"
import { createJobPayload } from "@unseal/queue/jobs/job"
import { queueStatus } from "@unseal/queue/status"
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest"
import { type S3Server, startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import { poisoned } from "../harness/poisoned.ts"
import { useQueue } from "../harness/queue.ts"

const current = useQueue("cold-feed")
const credential = {
  accessKeyId: "UNSEALTESTACCESSKEY",
  secretAccessKey: "a-secret-access-key-0123456789abcdef",
}
const never = new AbortController().signal
const PASSWORD = Buffer.alloc(256, 7).toString("base64")

let server: S3Server
let directory: string
let source: OpenedStore
let destination: OpenedStore
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-cold-feed-"))
  const options = {
    credentials: [credential],
    buckets: ["recordings"],
    restoreDelayMs: Number.POSITIVE_INFINITY,
  }
  server = await startS3Server(options)
  const url = `s3://recordings?${new URLSearchParams({ endpoint: server.url, region: "us-east-1" })}`
  source = poisoned(await openStore(url, { env: {}, credentials: credential }))
  destination = poisoned(await openStore(pathToFileURL(directory).href, { env: {} }))
})
afterEach(() => vi.restoreAllMocks())
afterAll(async () => {
  await source?.close()
  await destination?.close()
  await server?.close()
  await rm(directory, { recursive: true })
})

/** Both clocks, which `pass` advances: what is measured, and the time of the day. */
function clocks() {
  let aheadMs = 0
  const [date, monotonic] = [Date.now.bind(Date), performance.now.bind(performance)]
  vi.spyOn(Date, "now").mockImplementation(() => date() + aheadMs)
  vi.spyOn(performance, "now").mockImplementation(() => monotonic() + aheadMs)
  return {
    pass(ms: number) {
      aheadMs += ms
    },
  }
}

const payloadOf = (archiveId: string) => ({
  ...{ projectId: "100001", archiveId, encryptedPassword: PASSWORD, status: "uploaded" },
})

/** A backfill of these archives. `open` is one more process that feeds it. */
async function start(archiveIds: readonly string[], restore: RestorerOptions) {
  async function* lines(): AsyncGenerator<GivenLine> {
    for (const [index, archiveId] of archiveIds.entries())
      yield { line: index + 1, payload: payloadOf(archiveId) }
  }
  const { connection, queue } = { connection: current.client, queue: current.name }
  const { id, manifest } = await startBackfill(
    { connection, queue, isProject: () => true, openHome: async () => destination },
    lines(),
    { again: false, restore },
    never,
  )
  const open = (): Promise<BackfillFeed> =>
    openFeed(
      {
        ...{ connection, queue, producer: current.producer, isHeld: () => true },
        sidesOf: async ({ archiveId }) => ({
          ...{ source, destination, sourceKeys: [`${archiveId}.ts`] },
          ...{ destinationKey: `100001/${archiveId}.ts`, release() {} },
        }),
      },
      { id, home: destination, manifest },
      never,
    )
  return { open }
}

test("archived objects are asked back a few at a time, and their archives enqueued as they come, by feeders in turn", async () => {
  const clock = clocks()
  const ids = Array.from({ length: 6 }, () => randomUUID())
  for (const [index, archiveId] of ids.entries()) {
    await writeSmallObject(source, `${archiveId}.ts`, Buffer.alloc(752, 0x47), "video/mp2t", never)
    if (index > 0) server.archive("recordings", `${archiveId}.ts`, "GLACIER")
  }
  const { open } = await start(ids, { tier: "bulk", most: 2 })
  const waiting = async () => (await queueStatus(current.client, current.name)).jobs.waiting
  server.operations.clear()

  let feed = await open()
  for (const [enqueued, restoring] of [
    [1, 2],
    [3, 2],
    [5, 1],
    [6, 0],
  ] as const) {
    // More than once, as a feeder does each second: nothing is asked back twice.
    for (let turns = 0; turns < 3; turns++) await feed.turn(1_000, 1)
    expect(await waiting()).toBe(enqueued)
    expect(server.operations.count("RestoreObject")).toBe(Math.min(5, enqueued - 1 + restoring))
    server.archives.finish()
    clock.pass(130_000)
    // The next process goes on.
    feed = await open()
  }
})

test("a callback for an archive that is asked back frees its place for the next one", async () => {
  const clock = clocks()
  const ids = [randomUUID(), randomUUID()]
  for (const archiveId of ids) {
    await writeSmallObject(source, `${archiveId}.ts`, Buffer.alloc(752, 0x47), "video/mp2t", never)
    server.archive("recordings", `${archiveId}.ts`, "GLACIER")
  }
  const { open } = await start(ids, { tier: "bulk", most: 1 })
  const feed = await open()
  const asked = () =>
    ids.filter((archiveId) =>
      server.operations.count("RestoreObject", ({ key }) => key === `${archiveId}.ts`),
    )
  for (let turns = 0; turns < 3; turns++) await feed.turn(1_000, 1)
  const [first] = asked()
  expect(asked()).toEqual([first])

  const receivedAt = new Date().toISOString()
  await current.producer.enqueue(createJobPayload({ ...payloadOf(first!), receivedAt, nonce: randomUUID() }))
  for (let turns = 0; turns < 3; turns++) {
    clock.pass(61_000)
    await feed.turn(1_000, 1)
  }
  expect(asked()).toHaveLength(2)
})

test("a restore that is refused holds the project up with its reason, and nothing of it is given up", async () => {
  const clock = clocks()
  const archiveId = randomUUID()
  await writeSmallObject(source, `${archiveId}.ts`, Buffer.alloc(752, 0x47), "video/mp2t", never)
  server.archive("recordings", `${archiveId}.ts`, "DEEP_ARCHIVE")
  const allowed = { Effect: "Allow", Action: ["s3:GetObject", "s3:ListBucket"], Resource: "*" } as const
  server.policies.set(credential.accessKeyId, { Statement: allowed })
  try {
    const { open } = await start([archiveId], { tier: "standard", most: 2 })
    const feed = await open()
    expect(await feed.turn(1_000, 1)).toBe(false)
    const [blocked] = feed.progress().blocked
    expect(blocked).toMatchObject({
      projectId: "100001",
      reason: expect.stringContaining("s3:RestoreObject"),
    })
    server.policies.delete(credential.accessKeyId)
    // It goes on by itself.
    await expect
      .poll(
        async () => {
          clock.pass(60_000)
          await feed.turn(1_000, 1)
          return server.operations.count(
            "RestoreObject",
            ({ status, key }) => status === 202 && key === `${archiveId}.ts`,
          )
        },
        { timeout: 60_000 },
      )
      .toBe(1)
  } finally {
    server.policies.delete(credential.accessKeyId)
  }
})
