/** A few bad minutes of a whole system, in which everything happens that the boards can show. */
import { copyFile, mkdtemp, rename, rm, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3"
import { Redis } from "ioredis"
import { runCli } from "../harness/process.ts"
import type { Prometheus } from "../harness/prometheus.ts"
import { DESTINATION_NAME, S3_CREDENTIAL, SOURCE_NAME } from "../harness/stores.ts"
import { type RecordWish, type System, type SystemWorker, startSystem } from "../harness/system.ts"

const API_SECRET = "an-api-secret-of-the-story"
/** Longer than any step takes on a slow machine. */
const BOUND_MS = 180_000

const ORDINARY: readonly RecordWish[] = [
  { size: 400_000, statuses: ["started", "stopped", "uploaded"] },
  { size: 3_000_000, duplicates: 1 },
  { size: 9_000_000 },
  { size: 0 },
]

/** The chapter before which the trouble is greatest. */
export const KEYS_ARE_BACK = "the keys are back"

export interface Story {
  readonly system: System
  /** Lives through it. Resolves at its end, when nothing is suspended any more. */
  tell(say: (chapter: string) => void): Promise<void>
  close(): Promise<void>
}

/** Starts the system, and has `prometheus` scrape it. */
export async function startStory(prometheus: Prometheus): Promise<Story> {
  const system = await startSystem({
    ...{ store: "s3", workers: 0 },
    workerEnv: {
      UNSEAL_API_SECRET: API_SECRET,
      UNSEAL_LOCK_MS: "5000",
      UNSEAL_STALL_CHECK_MS: "2000",
      UNSEAL_CONCURRENCY: "4",
    },
    simulatorEnv: {
      SIMULATOR_REST_PORT: "0",
      SIMULATOR_API_SECRET: API_SECRET,
      // What the vendor keeps must be asked for again.
      SIMULATOR_URL_LIFETIME_MS: "1ms",
    },
  })
  const redis = new Redis(system.redis.url)
  redis.on("error", () => {})
  await redis.config("SET", "maxmemory", "64mb")
  const keys = dirname(system.keyFile)
  const ownKeys = await mkdtemp(join(dirname(keys), "keys-of-one-worker-"))
  await copyFile(system.keyFile, join(ownKeys, "key.pem"))
  await copyFile(join(dirname(keys), "cert.pem"), join(keys, "key-cert.pem"))
  const vendor = `UNSEAL_API_URL=http://127.0.0.1:${system.simulator.ports.rest}`
  const start = (...more: string[]) => system.startWorker(["env", vendor, ...more])
  const working: SystemWorker[] = [await start(), await start(`UNSEAL_KEYS=${ownKeys}`)]
  const scrape = () => prometheus.scrape([system.ingest, ...working].map(({ ports }) => ports.admin!))
  await scrape()

  const s3 = new S3Client({
    endpoint: `http://127.0.0.1:${system.simulator.ports.s3}`,
    ...{ region: "us-east-1", forcePathStyle: true },
    credentials: {
      accessKeyId: S3_CREDENTIAL.AWS_ACCESS_KEY_ID,
      secretAccessKey: S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY,
    },
  })
  const put = (Bucket: string, Key: string, size: number) =>
    s3.send(new PutObjectCommand({ Bucket, Key, Body: Buffer.alloc(size, 1) }))
  const cli = async (...args: string[]) => {
    const env = {
      ...system.env,
      UNSEAL_PROJECT_ID: system.projectId,
      UNSEAL_DESTINATION: system.stores.destination,
    }
    const { code, stderr } = await runCli(args, { env })
    if (code !== 0) throw new Error(`unseal ${args.join(" ")} ended with ${code}: ${stderr}`)
  }
  const badDay = async (change: object) => {
    const answer = await fetch(`http://127.0.0.1:${system.simulator.ports.control}/bad-day`, {
      method: "PATCH",
      headers: { "content-type": "application/json", connection: "close" },
      body: JSON.stringify(change),
    })
    if (!answer.ok) throw new Error(`the simulator answered ${answer.status}: ${await answer.text()}`)
  }
  /** Waits until Prometheus sees it. */
  const seen = async (what: string, expression: string) => {
    for (const deadline = Date.now() + BOUND_MS; Date.now() < deadline; await sleep(500)) {
      const value = await prometheus.query(expression)
      if (value !== null && value > 0) return
    }
    throw new Error(`Prometheus never saw ${what}: ${expression}`)
  }
  const callback = (body: string) =>
    fetch(`http://127.0.0.1:${system.ingest.ports.http}/callbacks/${system.projectId}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    })

  let recording = true
  let recorded = 0
  async function record(): Promise<void> {
    while (recording) {
      // While Redis is frozen, the simulator goes on, and its callbacks are refused.
      await system.record(ORDINARY[recorded++ % ORDINARY.length]!)
      await sleep(700)
    }
  }

  async function deadLetters(): Promise<void> {
    await cli("queue", "pause")
    const before = new Set((await system.archives()).map(({ id }) => id))
    await system.record({ size: 300_000, exact: true, count: 6 })
    const isNew = async () =>
      (await system.archives()).filter(
        ({ id, size, callbacks }) => size === 300_000 && !before.has(id) && callbacks.length > 0,
      )
    for (const deadline = Date.now() + BOUND_MS; (await isNew()).length < 6; await sleep(200))
      if (Date.now() > deadline) throw new Error("six archives were not recorded in time")
    for (const [index, { key }] of (await isNew()).entries())
      await (index % 2 === 0 ? put(DESTINATION_NAME, key, 1_000) : put(SOURCE_NAME, key, 17))
    await seen("the pause", "max(unseal_queue_paused)")
    await cli("queue", "resume")
    await seen("dead letters", 'max(unseal_queue_jobs{state="failed"}) > 1')
  }

  const chapters: Readonly<Record<string, () => Promise<void>>> = {
    "a key file that can't be used": () => writeFile(join(keys, "broken.pem"), "no key"),
    "a good day": async () => {
      await seen("archives", "sum(unseal_archives_total)")
      await sleep(20_000)
    },
    "callbacks that nobody signed": async () => {
      for (let times = 0; times < 8; times++) await callback('{"id":"x"}')
    },
    "dead letters": deadLetters,
    "the vendor keeps archives": async () => {
      await system.record({ size: 200_000, statuses: ["available"], count: 2 })
      await seen("requests to the vendor", "sum(unseal_vendor_request_seconds_count)")
    },
    "one request of seven fails": async () => {
      await badDay({ quirks: ["internal-errors"] })
      await sleep(12_000)
    },
    "a store that asks for fewer requests": async () => {
      await badDay({ quirks: ["slow-down"] })
      await system.record({ size: 12_000_000, count: 8 })
      await seen("a limit", "max(unseal_store_requests_limit)")
      await sleep(5_000)
      await badDay({ quirks: [] })
    },
    "the keys are away": async () => {
      await rename(keys, `${keys}-away`)
      await rename(ownKeys, `${ownKeys}-away`)
      await seen("a suspension", 'max(unseal_suspended{side="keys"})')
      await sleep(12_000)
    },
    [KEYS_ARE_BACK]: async () => {
      await rename(`${keys}-away`, keys)
      await rename(`${ownKeys}-away`, ownKeys)
      await cli("queue", "resume", "--project", system.projectId)
      await seen("the end of it", 'absent(unseal_suspended{side="keys"})')
    },
    "one worker has lost its keys": async () => {
      await rename(ownKeys, `${ownKeys}-away`)
      await system.record({ size: 200_000, count: 20 })
      await seen("a worker that stands aside", "max(unseal_worker_aside)")
      await sleep(3_000)
      await rename(`${ownKeys}-away`, ownKeys)
    },
    "a worker stops under load": async () => {
      await system.record({ size: 20_000_000, count: 8 })
      await seen("load", 'max(unseal_queue_jobs{state="active"})')
      await working.shift()!.stop()
      working.push(await start())
      await scrape()
    },
    "the janitor": () => cli("janitor"),
    "Redis does not answer": async () => {
      system.redis.servers[0]!.freeze()
      await sleep(9_000)
      system.redis.servers[0]!.thaw()
    },
    "all is well again": async () => {
      recording = false
      await seen(
        "an empty queue",
        'max(unseal_queue_jobs{state="waiting"}) + max(unseal_queue_jobs{state="active"}) == bool 0',
      )
      await sleep(8_000)
    },
  }
  return {
    system,
    async tell(say) {
      const loop = record()
      // A failure of the loop is told at the end, not as an unhandled rejection meanwhile.
      loop.catch(() => {})
      for (const [name, live] of Object.entries(chapters)) {
        say(name)
        await live()
      }
      await loop
    },
    async close() {
      recording = false
      redis.disconnect()
      s3.destroy()
      await system.close()
      await rm(ownKeys, { recursive: true, force: true })
    },
  }
}
