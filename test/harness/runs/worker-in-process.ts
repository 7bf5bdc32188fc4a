/** A worker in the test's own process, with directories as its stores. */

import { copyFile, mkdir, mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { createProducer } from "@unseal/queue/enqueue/producer"
import { createJobPayload, type JobPayload } from "@unseal/queue/jobs/job"
import { createLogger } from "@unseal/service/log/logger"
import { createRegistry, type Registry } from "@unseal/service/metrics"
import { connectRedis } from "@unseal/service/redis/redis"
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest"
import { readConfig } from "../../../apps/worker/src/config.ts"
import { createWorker, type Worker, type WorkerOptions } from "../../../apps/worker/src/worker.ts"
import { type RedisServer, startRedis } from "../redis/redis.ts"

export const VECTOR = fileURLToPath(new URL("../../vectors/openssl-pkcs7", import.meta.url))
export const PROJECT = "100001"

export let server: RedisServer
export let directory: string
export let redis: ReturnType<typeof connectRedis>
export const running = {} as {
  worker: Worker | undefined
  registry: Registry
  lines: Record<string, unknown>[]
}
export let archiveId: string
export let encryptedPassword: string

beforeAll(async () => {
  server = await startRedis()
  archiveId = (await readFile(join(VECTOR, "id"), "utf8")).trim()
  encryptedPassword = (await readFile(join(VECTOR, "password.b64"), "utf8")).trim()
})
afterAll(() => server.close())

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-worker-"))
  for (const name of ["in", "out", "keys"]) await mkdir(join(directory, name))
  running.registry = createRegistry()
  running.lines = []
})
afterEach(async () => {
  await running.worker?.close()
  running.worker = undefined
  redis.disconnect()
  await rm(directory, { recursive: true, force: true })
})

export function start(
  env: Record<string, string> = {},
  keyRings?: WorkerOptions["keyRings"],
  decorators: WorkerOptions["decorators"] = [],
): Worker {
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
  const logger = createLogger("worker", "info", { write: (line) => running.lines.push(JSON.parse(line)) })
  redis = connectRedis({ REDIS_URL: server.url }, "consumer", logger)
  running.worker = createWorker({
    config,
    redis,
    registry: running.registry,
    logger,
    decorators,
    ...(keyRings && { keyRings }),
  })
  return running.worker
}

export async function submit(
  projectId = PROJECT,
  more: Partial<JobPayload> = {},
  id?: string,
): Promise<string> {
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

export async function upload(): Promise<void> {
  await mkdir(join(directory, "in", PROJECT, archiveId), { recursive: true })
  await copyFile(join(VECTOR, "archive.enc"), join(directory, "in", PROJECT, archiveId, "archive.ts"))
}

export const line = (message: string) =>
  expect.poll(() => running.lines.find(({ msg }) => msg === message), { timeout: 30_000 }).toBeDefined()
