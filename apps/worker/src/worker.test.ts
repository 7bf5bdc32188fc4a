import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { UnsealError } from "@unseal/archive/errors"
import { createKeyRing } from "@unseal/archive/format/key-ring"
import type { OpenedKeyRing } from "@unseal/archive/keys/contract"
import { readPrivateKey } from "@unseal/archive/keys/private-key"
import { openDeadLetters } from "@unseal/queue/dead-letters/dead-letters"
import { createProducer } from "@unseal/queue/enqueue/producer"
import { createJobPayload } from "@unseal/queue/jobs/job"
import { createLogger } from "@unseal/service/log/logger"
import { createRegistry, type Registry } from "@unseal/service/metrics"
import { connectRedis } from "@unseal/service/redis/redis"
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest"
import { type RedisServer, startRedis } from "../../../test/harness/redis/redis.ts"
import { readConfig } from "./config.ts"
import { createWorker, type Worker, type WorkerOptions, whyStuck } from "./worker.ts"

const VECTOR = fileURLToPath(new URL("../../../test/vectors/openssl-pkcs7/", import.meta.url))
const PROJECT = "100001"

let server: RedisServer
let directory: string
let registry: Registry
let lines: Record<string, unknown>[]
let redis: ReturnType<typeof connectRedis>
let worker: Worker | undefined
let archiveId: string
let encryptedPassword: string

beforeAll(async () => {
  server = await startRedis()
  archiveId = (await readFile(join(VECTOR, "id"), "utf8")).trim()
  encryptedPassword = (await readFile(join(VECTOR, "password.b64"), "utf8")).trim()
})
afterAll(() => server.close())

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-worker-"))
  for (const name of ["in", "out", "keys"]) await mkdir(join(directory, name))
  registry = createRegistry()
  lines = []
})
afterEach(async () => {
  await worker?.close()
  worker = undefined
  redis.disconnect()
  await rm(directory, { recursive: true, force: true })
})

function start(env: Record<string, string> = {}, keyRings?: WorkerOptions["keyRings"]): Worker {
  const store = (name: string) => pathToFileURL(join(directory, name)).href
  const config = readConfig(
    {
      REDIS_URL: server.url,
      UNSEAL_QUEUE: `worker-${directory.slice(-6)}`,
      UNSEAL_PROJECT_ID: PROJECT,
      UNSEAL_SOURCE: store("in"),
      UNSEAL_DESTINATION: store("out"),
      UNSEAL_KEYS: join(directory, "keys"),
      ...env,
    },
    keyRings?.schemes,
  )
  const logger = createLogger("worker", "info", { write: (line) => lines.push(JSON.parse(line)) })
  redis = connectRedis({ REDIS_URL: server.url }, "consumer", logger)
  worker = createWorker({ config, redis, registry, logger, ...(keyRings && { keyRings }) })
  return worker
}

async function submit(projectId = PROJECT, more: { size?: number } = {}, id?: string): Promise<string> {
  const queue = `worker-${directory.slice(-6)}`
  const producer = createProducer({ connection: redis, queue, deadlineMs: 10_000 })
  const payload = createJobPayload({
    ...{ projectId, archiveId, encryptedPassword, status: "uploaded", nonce: "n1" },
    receivedAt: new Date().toISOString(),
    ...more,
  })
  const { jobId } = await producer.enqueue(payload, id)
  await producer.close()
  return jobId
}

async function upload(): Promise<void> {
  await mkdir(join(directory, "in", PROJECT, archiveId), { recursive: true })
  await copyFile(join(VECTOR, "archive.enc"), join(directory, "in", PROJECT, archiveId, "archive.ts"))
}

const line = (message: string) =>
  expect.poll(() => lines.find(({ msg }) => msg === message), { timeout: 30_000 }).toBeDefined()

test("a project without keys, even without their directory, does not make the process unready", async () => {
  await rm(join(directory, "keys"), { recursive: true })
  const { ready } = start()
  await expect.poll(ready, { timeout: 30_000 }).toEqual([])
  await line("project is not set up: its archives will wait")
  expect(lines.find(({ msg }) => String(msg).startsWith("project is not set up"))).toMatchObject({
    projectId: PROJECT,
    problems: [expect.stringContaining(`key directory ${join(directory, "keys")} can't be read`)],
  })
  expect(await ready()).toEqual([])
})

test("an archive that arrives after its job is decrypted to openssl's result once there is a key", async () => {
  start()
  await copyFile(join(VECTOR, "key.pem"), join(directory, "keys", "key.pem"))

  const jobId = await submit()
  await line("archive's object is not there yet")
  await upload()
  await line("archive committed")
  const plaintext = Buffer.concat([
    await readFile(new URL("../audio-only-12s.mpegts", pathToFileURL(VECTOR))),
    // What `openssl enc` pads with, and `-nopad` keeps.
    Buffer.alloc(4, 4),
  ])
  const out = join(directory, "out", PROJECT, archiveId)
  expect((await readFile(join(out, "archive.ts"))).equals(plaintext)).toBe(true)
  expect(JSON.parse(await readFile(join(out, "archive.json"), "utf8"))).toMatchObject({ attempts: 1 })
  expect(lines.find(({ msg }) => msg === "archive committed")).toMatchObject({ jobId, tail: "pkcs7" })

  const text = await registry.metrics()
  expect(text).toContain(`unseal_archives_total{project="${PROJECT}",outcome="committed",code="none"} 1`)
  expect(text).toContain(`unseal_queue_jobs{state="completed"} 1`)
  expect(text).toMatch(/unseal_bytes_total\{direction="written"\} [1-9]/)
  expect(JSON.stringify(lines)).not.toContain(encryptedPassword)
})

test("an object that is not of the announced size is decrypted with a warning", async () => {
  await copyFile(join(VECTOR, "key.pem"), join(directory, "keys", "key.pem"))
  await upload()
  start()
  await submit(PROJECT, { size: 411_920 })
  await line("archive committed")
  const { size } = await stat(join(VECTOR, "archive.enc"))
  expect(lines.find(({ announcedSize }) => announcedSize === 411_920)).toMatchObject({
    level: "warn",
    ...{ msg: "archive's size is not the one that its callback announced", archiveId },
    ...{ announcedSize: 411_920, sourceSize: size },
  })
  expect(await registry.metrics()).toContain('unseal_announced_size_total{outcome="differs"} 1')
  const record = await readFile(join(directory, "out", PROJECT, archiveId, "archive.json"), "utf8")
  expect(JSON.parse(record)).toMatchObject({ announced: { size: 411_920, fits: false } })
})

test("an object that must be of the announced size is waited for until it is", async () => {
  await copyFile(join(VECTOR, "key.pem"), join(directory, "keys", "key.pem"))
  await upload()
  const object = join(directory, "in", PROJECT, archiveId, "archive.ts")
  const { size } = await stat(object)
  await truncate(object, 64_000)
  start({ UNSEAL_ANNOUNCED_SIZE: "require" })
  await submit(PROJECT, { size })
  await line("archive's object is not of the announced size yet")
  expect(await readdir(join(directory, "out"))).toEqual([])
  await upload()
  await line("archive committed")
  const record = await readFile(join(directory, "out", PROJECT, archiveId, "archive.json"), "utf8")
  expect(JSON.parse(record)).toMatchObject({ attempts: 1, announced: { size, fits: true } })
})

test("a job of a project that is not configured is a dead letter", async () => {
  start()
  const jobId = await submit("424242")
  await line("archive is a dead letter")
  const letters = openDeadLetters({ connection: redis, queue: `worker-${directory.slice(-6)}` })
  // The line comes before the queue has recorded it.
  await expect
    .poll(() => letters.list())
    .toMatchObject([
      { jobId, code: "ERR_JOB_INVALID", reason: "ERR_JOB_INVALID: project 424242 is not configured here" },
    ])
  await letters.close()
})

test("a project without a usable key is suspended, and its archives are decrypted once there is one", async () => {
  start()
  await writeFile(join(directory, "keys", "readme.txt"), "no key")
  await upload()
  await submit()
  await line("project suspended: its archives wait until a probe succeeds")
  expect(lines.find(({ msg }) => String(msg).startsWith("project suspended"))).toMatchObject({
    ...{ level: "warn", projectId: PROJECT, side: "keys", code: "ERR_KEY_SERVICE_UNAVAILABLE" },
    reason: expect.stringContaining(`${join(directory, "keys")} holds no usable key`),
  })
  expect(await readdir(join(directory, "out"))).toEqual([])
  await copyFile(join(VECTOR, "key.pem"), join(directory, "keys", "key.pem"))
  await line("archive committed")
  await line("suspension ended: the project's archives go on")
  expect(lines.find(({ msg }) => msg === "archive committed")).toMatchObject({ attempt: 1 })
})

test("a key service that is silent, then refuses, suspends the project without an attempt, until it answers", async () => {
  const key = await readPrivateKey(join(VECTOR, "key.pem"))
  const ring = createKeyRing([key])
  const hangs = () => new Promise<never>(() => {})
  const refuses = () =>
    Promise.reject(new UnsealError("ERR_KEY_SERVICE_UNAVAILABLE", "no permission", { refused: true }))
  let unwrap: OpenedKeyRing["unwrap"] = hangs
  let closed = 0
  const service: OpenedKeyRing = {
    ...{ location: "fake://keys", problems: () => [], notes: () => [], certificates: () => [] },
    ...{ describe: ring.describe, refresh: async () => {}, lookedAt: () => Date.now() },
    unwrap: (...given) => unwrap(...given),
    close: async () => void closed++,
  }
  start(
    { UNSEAL_KEYS: "fake://keys" },
    {
      schemes: { fake: { example: "fake://keys", isRemote: true, parse: () => async () => service } },
      requests: { timeoutMs: 50, baseMs: 1 },
    },
  )
  await upload()
  await submit()
  await line("project suspended: its archives wait until a probe succeeds")
  expect(lines.find(({ msg }) => String(msg).startsWith("project suspended"))).toMatchObject({
    ...{ side: "keys", code: "ERR_KEY_SERVICE_UNAVAILABLE" },
    reason: expect.stringContaining("key ring fake://keys: no answer for 0.05 s"),
  })
  expect(await registry.metrics()).toMatch(
    /unseal_retries_total\{layer="request",code="ERR_KEY_SERVICE_UNAVAILABLE"\} [1-9]/,
  )
  unwrap = refuses
  await expect.poll(() => JSON.stringify(lines), { timeout: 30_000 }).toContain("no permission")
  unwrap = ring.unwrap
  await line("archive committed")
  expect(lines.find(({ msg }) => msg === "archive committed")).toMatchObject({ attempt: 1 })
  expect(lines.filter(({ msg }) => msg === "archive is a dead letter")).toEqual([])
  await worker?.close()
  worker = undefined
  expect(closed).toBe(1)
})

test("a key that every user of the machine may read causes a warning, and is used", async () => {
  const key = join(directory, "keys", "key.pem")
  await copyFile(join(VECTOR, "key.pem"), key)
  await chmod(key, 0o644)
  start()
  await upload()
  await submit()
  await line("archive committed")
  const warning = lines.find(({ msg }) => msg === "key file can be read by every user of this machine")
  expect(warning).toMatchObject({ level: "warn", keys: join(directory, "keys"), file: "key.pem" })
})

test("an output under another tail rule is left alone by a second job, unless it may be replaced", async () => {
  const out = join(directory, "out", PROJECT, archiveId, "archive.ts")
  await copyFile(join(VECTOR, "key.pem"), join(directory, "keys", "key.pem"))
  const again = async (jobId: string, env: Record<string, string>, message: string) => {
    await worker?.close()
    redis?.disconnect()
    registry = createRegistry()
    lines = []
    start(env)
    await submit(PROJECT, {}, jobId)
    await line(message)
    return (await stat(out)).size
  }
  await upload()
  const first = `${PROJECT}_${archiveId}`
  const kept = await again(first, {}, "archive committed")
  expect(await again(`${first}_r2`, { UNSEAL_TAIL: "trim" }, "archive is a dead letter")).toBe(kept)
  expect(lines.find(({ msg }) => msg === "archive is a dead letter")).toMatchObject({
    code: "ERR_DESTINATION_EXISTS",
    attempt: 1,
  })
  const replace = { UNSEAL_TAIL: "trim", UNSEAL_EXISTING: "replace" }
  expect(await again(`${first}_r3`, replace, "archive committed")).toBe(kept - 4)
})

test("a missing key directory and a missing destination directory suspend the project, too", async () => {
  await rm(join(directory, "keys"), { recursive: true })
  await rm(join(directory, "out"), { recursive: true })
  start()
  await upload()
  await submit()
  await line("project suspended: its archives wait until a probe succeeds")
  await mkdir(join(directory, "keys"))
  await copyFile(join(VECTOR, "key.pem"), join(directory, "keys", "key.pem"))
  await expect
    .poll(
      () => lines.filter(({ msg }) => String(msg).startsWith("project suspended")).map(({ side }) => side),
      {
        timeout: 30_000,
      },
    )
    .toContain("destination")
  await mkdir(join(directory, "out"))
  await line("archive committed")
  expect(lines.filter(({ msg }) => msg === "archive is a dead letter")).toEqual([])
})

test("an archive of another key is a dead letter, and nothing appears", async () => {
  start()
  const other = fileURLToPath(new URL("../../../test/vectors/openssl-zero/key.pem", import.meta.url))
  await copyFile(other, join(directory, "keys", "key.pem"))
  await upload()
  await submit()
  await line("archive is a dead letter")
  expect(lines.find(({ msg }) => msg === "archive is a dead letter")).toMatchObject({
    ...{ code: "ERR_NO_MATCHING_KEY", kind: "permanent", attempt: 1 },
  })
  expect(await readdir(join(directory, "out"))).toEqual([])
})

test("is not ready while Redis is away, but alive", async () => {
  await copyFile(join(VECTOR, "key.pem"), join(directory, "keys", "key.pem"))
  const { ready, live } = start()
  await expect.poll(ready, { timeout: 30_000 }).toEqual([])
  process.kill(server.pid, "SIGSTOP")
  try {
    expect(await ready()).toEqual(["redis did not answer within 1500 ms"])
    expect(live()).toBeNull()
  } finally {
    process.kill(server.pid, "SIGCONT")
  }
})

test("is stuck only if it makes no progress although it could", () => {
  const consumer = (active: number, lastTrouble = "") => ({ active, lastProgressAt: 1_000, lastTrouble })
  const ok = { okSince: 0 }
  expect(whyStuck(consumer(2), ok, 5_000, 6_000)).toBeNull()
  expect(whyStuck(consumer(2), ok, 5_000, 6_001)).toBe(
    "no progress for 5001 ms with 2 jobs in hand, although redis takes work",
  )
  expect(whyStuck(consumer(0, "redis connection failed: x"), ok, 5_000, 6_001)).toMatch(
    /; the last error of its connections: redis connection failed: x$/,
  )
  expect(whyStuck(consumer(2), { okSince: null }, 5_000, 6_001)).toBeNull()
  expect(whyStuck(consumer(0), { okSince: 2_000 }, 5_000, 7_000)).toBeNull()
  expect(whyStuck(consumer(0), { okSince: 2_000 }, 5_000, 7_001)).not.toBeNull()
})
