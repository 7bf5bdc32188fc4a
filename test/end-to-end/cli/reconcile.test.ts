/**
 * Archives that no callback announced, or that Redis forgot: found with the vendor's REST API, and decrypted from wherever the
 * vendor has them.
 */

import { createHash, randomUUID } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { readSmallObject, writeSmallObject } from "@unseal/archive/store/small-object"
import { readAccounts } from "@unseal/queue/accounting"
import { queueKey } from "@unseal/queue/names"
import { queueStatus } from "@unseal/queue/status"
import { listSuspensions, resumeSuspended } from "@unseal/queue/suspension/state"
import { Redis } from "ioredis"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { startRedisProxy } from "../../chaos/redis-proxy.ts"
import { isStopped } from "../../chaos/world/members.ts"
import { type CliResult, runCli } from "../../harness/process.ts"
import { type ArchiveSummary, PROJECT_ID, type System, startSystem } from "../../harness/system.ts"

const API_SECRET = "api-secret-of-the-simulated-project"
const signal = AbortSignal.timeout(600_000)
const AVAILABLE = ["started", "stopped", "available"]

let directory: string
let workerEnv: Record<string, string>
let system: System
let client: Redis

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-reconcile-"))
  workerEnv = {}
  const certificate = join(directory, "tls-cert.pem")
  system = await startSystem({
    ...{ store: "s3", workers: 0, workerEnv },
    simulatorEnv: {
      ...{ SIMULATOR_REST_PORT: "0", SIMULATOR_API_SECRET: API_SECRET, SIMULATOR_REST_REFUSE_EVERY: "4" },
      ...{ SIMULATOR_TLS_CERTIFICATE_FILE: certificate, SIMULATOR_TLS_KEY_FILE: join(directory, "tls.pem") },
      // Shorter than the vendor's ten minutes, to keep this test short.
      SIMULATOR_URL_LIFETIME_MS: "3s",
    },
  })
  client = new Redis(system.redis.url)
  Object.assign(workerEnv, {
    UNSEAL_FALLBACK_HOSTS: `127.0.0.1:${system.simulator.ports.downloads}`,
    UNSEAL_API_SECRET: API_SECRET,
    UNSEAL_API_URL: `http://127.0.0.1:${system.simulator.ports.rest}`,
    NODE_EXTRA_CA_CERTS: certificate,
  })
})
afterEach(async () => {
  client.disconnect()
  await system.close()
  await rm(directory, { recursive: true })
})

const cli = (args: readonly string[], env: Record<string, string> = {}): Promise<CliResult> =>
  runCli(args, {
    env: {
      ...{ ...system.env, ...workerEnv, UNSEAL_PROJECT_ID: PROJECT_ID },
      ...{ UNSEAL_SOURCE: system.stores.source, UNSEAL_DESTINATION: system.stores.destination },
      ...{ UNSEAL_KEYS: dirname(system.keyFile), ...env },
    },
  })

interface Findings {
  readonly encrypted: number
  readonly done: number
  readonly live: number
  readonly enqueued: readonly { readonly archiveId: string; readonly jobId: string }[]
  readonly deadLetters: readonly { readonly archiveId: string }[]
}

async function reconcile(...args: string[]): Promise<Findings> {
  const run = () => cli(["archives", "reconcile", "--json", ...args])
  let { code, stdout, stderr } = await run()
  // Exit code 3 allows another try: on a very busy machine Redis may not answer in time.
  for (let tries = 1; code === 3 && tries < 3; tries++) ({ code, stdout, stderr } = await run())
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) })
  return (JSON.parse(stdout.toString()) as { projects: [Findings] }).projects[0]
}

const jobs = async () => (await queueStatus(client, "unseal")).jobs
const stored = async (): Promise<ArchiveSummary[]> =>
  (await system.archives()).filter(({ status }) => ["uploaded", "available"].includes(status))
/** Waits until `count` archives are stored, and all their callbacks are answered. */
const untilRecorded = (count: number) =>
  expect
    .poll(
      async () =>
        (await stored()).filter(({ callbacks, status }) =>
          callbacks.some((callback) => callback.status === status && callback.outcome === "accepted"),
        ).length,
      { timeout: 60_000, interval: 200 },
    )
    .toBe(count)

async function digest(archiveId: string): Promise<string | null> {
  const key = `${PROJECT_ID}/${archiveId}/archive.ts`
  const object = await system.destination.stat(key, signal)
  if (object === null) return null
  const bytes = await readSmallObject(system.destination, object, 2 ** 30, signal)
  return createHash("sha256").update(bytes).digest("hex")
}
const isRight = async ({ id }: ArchiveSummary) =>
  (await digest(id)) === (await system.archive(id)).sha256.plaintext

test("after Redis has lost everything, three concurrent reconcilers restore all of it, each archive once", async () => {
  await system.record({ size: 300_000, count: 6 })
  await system.record({ size: 300_000, count: 3, statuses: AVAILABLE })
  await untilRecorded(9)
  expect(await jobs()).toMatchObject({ waiting: 9 })
  // One of them can't be decrypted: the object in the source store is not the recording.
  const broken = (await stored()).find(({ status }) => status === "uploaded")!
  await writeSmallObject(system.source, broken.key, Buffer.alloc(17), "video/mp2t", signal)
  await client.flushall()

  expect(await reconcile("--dry-run")).toMatchObject({ encrypted: 9, done: 0, live: 0 })
  expect(await jobs()).toMatchObject({ waiting: 0 })
  const all = await Promise.all([reconcile(), reconcile(), reconcile()])
  const enqueued = all.flatMap((each) => each.enqueued.map(({ archiveId }) => archiveId))
  expect(enqueued.toSorted()).toEqual((await stored()).map(({ id }) => id).toSorted())
  expect(await jobs()).toMatchObject({ waiting: 9 })

  await system.startWorker()
  await expect.poll(jobs, { timeout: 60_000, interval: 200 }).toMatchObject({ completed: 8, failed: 1 })
  for (const archive of await stored())
    expect(await isRight(archive), archive.id).toBe(archive.id !== broken.id)

  // Nothing is left to do. The dead letter is left to people.
  expect(await reconcile()).toMatchObject({
    ...{ encrypted: 9, done: 8, live: 0, enqueued: [] },
    deadLetters: [{ archiveId: broken.id }],
  })

  // The output is removed while the queue still knows the job as completed.
  const lost = (await stored()).find(({ id }) => id !== broken.id)!
  for (const extension of ["ts", "json"])
    await system.destination.remove(`${PROJECT_ID}/${lost.id}/archive.${extension}`, signal)
  const again = await Promise.all([reconcile(), reconcile()])
  expect(again.flatMap((each) => each.enqueued)).toEqual([
    { archiveId: lost.id, jobId: expect.stringMatching(/_r2$/) },
  ])
  await expect.poll(() => isRight(lost), { timeout: 60_000, interval: 200 }).toBe(true)
}, 300_000)

describe("an archive in the vendor's storage", { timeout: 200_000 }, () => {
  test("is fetched from there, even long after the URL of its callback has expired", async () => {
    await system.record({ size: 400_000, count: 2, statuses: AVAILABLE })
    await untilRecorded(2)
    await new Promise((resolve) => setTimeout(resolve, 3_100))
    const worker = await system.startWorker()
    await expect.poll(jobs, { timeout: 60_000, interval: 200 }).toMatchObject({ completed: 2 })
    for (const archive of await stored()) {
      expect(await isRight(archive)).toBe(true)
      const key = `${PROJECT_ID}/${archive.id}/archive.json`
      const record = await readSmallObject(
        system.destination,
        (await system.destination.stat(key, signal))!,
        65_536,
        signal,
      )
      expect(JSON.parse(Buffer.from(record).toString())).toMatchObject({
        source: { key: `vendor://${PROJECT_ID}/${archive.id}` },
      })
    }
    const said = [system.ingest, worker].map(({ log, stderr }) => JSON.stringify(log) + stderr()).join()
    expect(said).not.toMatch(/Signature=|Expires=/)
  })

  test("is whole at 24 MB, although its URL expires between two parts", async () => {
    await system.record({ size: 24_000_000, statuses: AVAILABLE })
    await untilRecorded(1)
    Object.assign(workerEnv, {
      ...{ UNSEAL_PART_SIZE_BYTES: String(5 * 1024 * 1024), UNSEAL_PARTS_IN_FLIGHT: "1" },
      ...{ RIG: "1", RIG_FAULT_POINT: "after-part:2:stop" },
    })
    const worker = await system.startWorker()
    await expect.poll(() => isStopped(worker.pid), { timeout: 30_000 }).toBe(true)
    await new Promise((resolve) => setTimeout(resolve, 3_100))
    worker.kill("SIGCONT")
    await expect.poll(jobs, { timeout: 60_000, interval: 200 }).toMatchObject({ completed: 1 })
    const [archive] = await stored()
    expect(archive!.size).toBeGreaterThan(20_000_000)
    expect(await isRight(archive!)).toBe(true)
  })

  test("waits without using an attempt while the vendor is down, and then continues by itself", async () => {
    const proxy = await startRedisProxy(system.simulator.ports.rest!)
    try {
      workerEnv.UNSEAL_API_URL = `http://127.0.0.1:${proxy.port}`
      await system.record({ size: 300_000, count: 3, statuses: AVAILABLE })
      await untilRecorded(3)
      // Their URLs have expired, so each needs a new one.
      await new Promise((resolve) => setTimeout(resolve, 3_100))
      proxy.fault({ kind: "refuse" })
      await system.startWorker()
      const suspended = async () => (await listSuspensions(client, "unseal")).map(({ side }) => side)
      await expect.poll(suspended, { timeout: 30_000 }).toEqual(["vendor"])
      await new Promise((resolve) => setTimeout(resolve, 3_000))
      expect(await jobs()).toMatchObject({ completed: 0, failed: 0 })

      proxy.honest()
      await expect.poll(jobs, { timeout: 60_000, interval: 200 }).toMatchObject({ completed: 3, failed: 0 })
      for (const archive of await stored()) expect(await isRight(archive)).toBe(true)
      const ids = await client.zrange(queueKey("unseal", "completed"), 0, "-1")
      const attempts = await Promise.all(ids.map((id) => client.hget(queueKey("unseal", id), "atm")))
      expect(attempts).toEqual(["1", "1", "1"])
      expect(await suspended()).toEqual([])
    } finally {
      await proxy.close()
    }
  })

  test("is read from the source store if it is there after all", async () => {
    await system.record({ size: 300_000, statuses: AVAILABLE })
    await untilRecorded(1)
    const [archive] = await stored()
    const { recording, sha256 } = await system.archive(archive!.id)
    expect(recording.size).toBeGreaterThan(0)
    await writeSmallObject(system.source, archive!.key, Buffer.alloc(17), "video/mp2t", signal)
    await system.startWorker()
    // The source store comes first: its object is broken, while the vendor's copy is not.
    await expect.poll(jobs, { timeout: 60_000, interval: 200 }).toMatchObject({ failed: 1 })
    expect(sha256.plaintext).not.toBe(await digest(archive!.id))
  })

  test("is suspended with the reason if its host is not allowed or its URL can't be renewed", async () => {
    await system.record({ size: 300_000, statuses: AVAILABLE })
    await untilRecorded(1)
    // The deployment is misconfigured, so no archive is given up.
    const reason = async () => (await listSuspensions(client, "unseal"))[0]?.reason
    workerEnv.UNSEAL_FALLBACK_HOSTS = "*.amazonaws.com"
    const worker = await system.startWorker()
    await expect
      .poll(reason, { timeout: 30_000 })
      .toMatch(/^ERR_STORE_DENIED: vendor:\/\/.* 127\.0\.0\.1:\d+ is not one of the allowed hosts$/)
    await worker.stop()

    workerEnv.UNSEAL_FALLBACK_HOSTS = `127.0.0.1:${system.simulator.ports.downloads}`
    const { UNSEAL_API_SECRET: _, ...withoutSecret } = workerEnv
    for (const name of Object.keys(workerEnv)) delete workerEnv[name]
    Object.assign(workerEnv, withoutSecret)
    await new Promise((resolve) => setTimeout(resolve, 3_100))
    await resumeSuspended(client, "unseal", {})
    await system.startWorker()
    await expect
      .poll(reason, { timeout: 30_000 })
      .toMatch(/^ERR_STORE_DENIED: the URL of archive .* has expired, and project 123456 has no credentials/)
  })
})

test("a committed archive is decrypted again by its id, with the password from the vendor", async () => {
  await system.startWorker()
  await system.record({ size: 100_000 })
  await untilRecorded(1)
  const [archive] = await stored()
  const id = archive!.id
  const committed = (count: number) =>
    expect
      .poll(() => readAccounts(client, "unseal"), { timeout: 60_000, interval: 300 })
      .toMatchObject({ accepted: count, committed: count, live: 0, missing: 0 })
  await committed(1)
  const whole = await digest(id)
  await system.destination.remove(`${PROJECT_ID}/${id}/archive.json`, signal)
  await system.destination.remove(`${PROJECT_ID}/${id}/archive.ts`, signal)

  const dry = await cli(["queue", "redrive", "--committed", id, "--dry-run"])
  expect(dry).toMatchObject({ code: 0, stderr: "1 committed archive would be redriven\n" })
  const { code, stdout } = await cli(["queue", "redrive", "--committed", id])
  expect({ code, stdout: stdout.toString() }).toEqual({
    code: 0,
    stdout: expect.stringMatching(new RegExp(`^redriven ${id} as ${PROJECT_ID}_${id}_[0-9a-f]{16}_r2\\n$`)),
  })
  await committed(2)
  expect(await digest(id)).toBe(whole)
  const unknown = await cli(["queue", "redrive", "--committed", randomUUID()])
  expect(unknown).toMatchObject({ code: 2, stderr: expect.stringContaining("the vendor knows no archive") })
}, 120_000)

test("an archive that can't be reconciled is reported with what is missing", async () => {
  const run = async (args: string[], env?: Record<string, string>) => {
    const { code, stderr } = await cli(["archives", "reconcile", ...args], env)
    return [code, stderr]
  }
  expect(await run(["--look-back", "never"])).toEqual([2, expect.stringContaining("--look-back must be")])
  expect(await run(["--project", "999"])).toEqual([2, expect.stringContaining("no project 999")])
  expect(await run([], { UNSEAL_API_SECRET: "" })).toEqual([2, expect.stringContaining("UNSEAL_API_SECRET")])
  const [code, stderr] = await run([], { UNSEAL_API_SECRET: "wrong" })
  expect([code, stderr]).toEqual([1, expect.stringContaining("refused to list")])
  expect(stderr).not.toContain("0 archives")
  // It does not ask for settings that it does not use.
  const without = { UNSEAL_SOURCE: "", UNSEAL_KEYS: "" }
  expect(await run([], without)).toEqual([0, expect.stringContaining("0 archives")])
  expect(await run([], { UNSEAL_API_URL: "http://127.0.0.1:1" })).toEqual([3, expect.anything()])
  expect(await run([], { REDIS_URL: "redis://127.0.0.1:1" })).toEqual([3, expect.stringContaining("redis")])
}, 120_000)
