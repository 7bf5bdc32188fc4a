import { countersKey } from "@unseal/queue/names"
import { Redis } from "ioredis"
import { afterAll, beforeAll, expect, test } from "vitest"
import { runCli } from "../harness/process.ts"
import { type Prometheus, startPrometheus } from "../harness/prometheus.ts"
import { type System, startSystem } from "../harness/system.ts"
import { readParameters } from "../scaling/parameters.ts"

/** The queries of the manifest, as it has them. */
const { queries } = readParameters()
const SIZE = 5_000_000

let system: System
let prometheus: Prometheus
beforeAll(async () => {
  prometheus = await startPrometheus(250)
  system = await startSystem({ store: "s3", workers: 1 })
  await prometheus.scrape([system.ingest, ...system.workers].map(({ ports }) => ports.admin!))
})
afterAll(async () => {
  await system?.close()
  await prometheus?.close()
})

const bytes = () => prometheus.query(queries.bytes)
const age = () => prometheus.query(queries.age)
const cli = async (...args: string[]) => expect((await runCli(args, { env: system.env })).code).toBe(0)
/** Values of the last minute count, so a query needs a minute to fall. */
const FALLS = { timeout: 150_000, interval: 1_000 }

test("KEDA's queries see what waits, on a Prometheus that scrapes a running worker, and nothing while the queue is paused", async () => {
  await expect.poll(bytes, { timeout: 60_000 }).toBe(0)
  expect(await age()).toBe(0)

  // A pause keeps the worker from its work. Prometheus then sees 0, although two archives wait.
  await cli("queue", "pause")
  await system.record({ size: SIZE, exact: true, count: 2 })
  const redis = new Redis(system.redis.url)
  await expect
    .poll(() => redis.hget(countersKey("unseal"), "bytes"), { timeout: 60_000 })
    .toBe(String(2 * SIZE))
  redis.disconnect()
  await expect
    .poll(() => prometheus.query('max(unseal_queue_jobs{state="waiting"})'), { timeout: 60_000 })
    .toBe(2)
  expect([await bytes(), await age()]).toEqual([0, 0])

  await cli("queue", "resume")
  await expect.poll(bytes, { timeout: 60_000, interval: 50 }).toBeGreaterThanOrEqual(SIZE / 30e9)
  expect(await bytes()).toBeLessThanOrEqual((2 * SIZE) / 30e9)
  await expect.poll(bytes, FALLS).toBe(0)
  await expect.poll(age, FALLS).toBe(0)
})

test("without data, they have no value, and not 0", async () => {
  await prometheus.scrape([])
  await expect.poll(bytes, FALLS).toBeNull()
  expect(await age()).toBeNull()
})
