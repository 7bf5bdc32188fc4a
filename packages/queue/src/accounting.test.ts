import { type ChildProcess, spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { UnsealError } from "@unseal/archive/errors"
import { Queue } from "bullmq"
import { Redis } from "ioredis"
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest"
import { newPayload } from "../../../test/harness/queue.ts"
import { type RedisServer, startRedis } from "../../../test/harness/redis/redis.ts"
import { type Accounts, readAccounts } from "./accounting.ts"
import { openDeadLetters } from "./dead-letters/dead-letters.ts"
import { createProducer, type Producer } from "./enqueue/producer.ts"
import { countersKey, queueKey, queuePrefix, turnsKey } from "./names.ts"
import { type ConsumerOptions, createConsumer } from "./run/consumer.ts"
import type { RunResult } from "./run/ending.ts"

let redis: RedisServer
let client: Redis
let queue: string
let producer: Producer
let ends: (() => Promise<unknown> | unknown)[]

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.close())
beforeEach(() => {
  queue = `accounting-${randomUUID().slice(0, 8)}`
  client = new Redis(redis.url)
  producer = createProducer({ connection: client, queue, deadlineMs: 20_000 })
  ends = [() => client.disconnect(), () => producer.close()]
})
afterEach(async () => {
  for (const end of ends.reverse()) await end()
})

const SOON = { timeout: 30_000 }
type Run = ConsumerOptions<RunResult>["run"]

function consume(run: Run, options: Partial<ConsumerOptions<RunResult>> = {}) {
  const consumer = createConsumer<RunResult>({
    ...{ connection: client, queue, concurrency: 4, lockMs: 2_000, stallCheckMs: 300 },
    ...options,
    run,
    observe: { ended() {} },
  })
  ends.push(() => consumer.close())
  return consumer
}

/** The queue as an operator's tool opens it. */
function bullmq(): Queue {
  const tool = new Queue(queue, { connection: client, prefix: queuePrefix(queue), skipVersionCheck: true })
  ends.push(() => tool.close())
  return tool
}

/**
 * The difference between the counted bytes and those of all live jobs, and of those in the bulk lane, in one look. 0 unless the
 * backlog is wrong. KEYS: prefix, counters.
 */
const UNCOUNTED_BYTES = `
local sum, bulk = 0, 0
local function add(ids)
  for _, id in ipairs(ids) do
    local bytes = tonumber(redis.call("HGET", KEYS[1] .. id, "bytes") or 0)
    sum = sum + bytes
    if string.find(redis.call("HGET", KEYS[1] .. id, "data"), '"lane":"bulk"', 1, true) then bulk = bulk + bytes end
  end
end
for _, set in ipairs({ "prioritized", "delayed" }) do add(redis.call("ZRANGE", KEYS[1] .. set, 0, -1)) end
for _, list in ipairs({ "active", "wait", "paused" }) do add(redis.call("LRANGE", KEYS[1] .. list, 0, -1)) end
return {
  tonumber(redis.call("HGET", KEYS[2], "bytes") or 0) - sum,
  tonumber(redis.call("HGET", KEYS[2], "bulkBytes") or 0) - bulk,
}`
const uncountedBytes = () => client.eval(UNCOUNTED_BYTES, 2, queueKey(queue, ""), countersKey(queue))

const accounts = () => readAccounts(client, queue)
const balanced = (fields: Partial<Accounts>): Accounts => ({
  ...{ accepted: 0, committed: 0, deadLetters: 0, live: 0, discarded: 0, missing: 0 },
  ...fields,
})

test("an empty queue has empty accounts", async () => {
  expect(await accounts()).toEqual(balanced({}))
})

test("an archive is accepted once, however many callbacks arrive for it at the same time", async () => {
  const one = newPayload()
  const enqueued = await Promise.all(
    Array.from({ length: 50 }, () => producer.enqueue({ ...one, nonce: randomUUID() })),
  )
  expect(enqueued.filter(({ outcome }) => outcome === "enqueued")).toHaveLength(1)
  expect(await accounts()).toEqual(balanced({ accepted: 1, live: 1 }))
})

test("committed archives, dead letters and live jobs add up to the accepted ones", async () => {
  for (let number = 0; number < 9; number++) await producer.enqueue(newPayload(`10000${number}`))
  consume(
    async ({ projectId }, { signal }) => {
      if (projectId < "100003") return {}
      if (projectId < "100006") throw new UnsealError("ERR_NO_MATCHING_KEY", "none of 1 keys fits")
      if (projectId < "100008") throw new UnsealError("ERR_OBJECT_CHANGED", "another version is there")
      return await new Promise<never>((_, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason)),
      )
    },
    { concurrency: 9 },
  )
  await expect.poll(accounts, SOON).toEqual(balanced({ accepted: 9, committed: 3, deadLetters: 3, live: 3 }))
})

test("a redriven dead letter is live again, and counts as accepted once", async () => {
  await producer.enqueue(newPayload())
  const consumer = consume(async () => {
    throw new UnsealError("ERR_NO_MATCHING_KEY", "none of 1 keys fits")
  })
  await expect.poll(accounts, SOON).toEqual(balanced({ accepted: 1, deadLetters: 1 }))
  await consumer.close()
  const deadLetters = openDeadLetters({ connection: client, queue })
  ends.push(() => deadLetters.close())
  const [letter] = await deadLetters.list()
  // Two at once, like two operators.
  await Promise.all([deadLetters.redrive(letter!.jobId), deadLetters.redrive(letter!.jobId)])
  expect(await accounts()).toEqual(balanced({ accepted: 1, live: 1 }))

  consume(async () => ({}))
  await expect.poll(accounts, SOON).toEqual(balanced({ accepted: 1, committed: 1 }))
})

test("a committed archive stays committed when its job is forgotten, and counts again if it returns", async () => {
  const one = newPayload()
  const { jobId } = await producer.enqueue(one)
  consume(async () => ({}))
  await expect.poll(accounts, SOON).toEqual(balanced({ accepted: 1, committed: 1 }))
  await bullmq().remove(jobId)
  expect(await accounts()).toEqual(balanced({ accepted: 1, committed: 1 }))
  await producer.enqueue(one)
  await expect.poll(accounts, SOON).toEqual(balanced({ accepted: 2, committed: 2 }))
})

test("a job that was removed by hand is missing", async () => {
  const { jobId } = await producer.enqueue(newPayload())
  await bullmq().remove(jobId)
  expect(await accounts()).toEqual(balanced({ accepted: 1, missing: 1 }))
})

test("a full Redis counts nothing that it refuses, and its accounts can be read all the same", async () => {
  // Less than an empty server of any version needs.
  const small = await startRedis({ maxmemory: "100kb" })
  ends.push(() => small.close())
  const connection = new Redis(small.url)
  ends.push(() => connection.disconnect())
  const refused = createProducer({ connection, queue })
  ends.push(() => refused.close())
  await expect(refused.enqueue(newPayload())).rejects.toThrow(/maxmemory|OOM/)
  expect(await readAccounts(connection, queue)).toEqual(balanced({}))
})

test("the accounts always balance, bytes included, while workers are killed, jobs handed back and dead letters redriven", async () => {
  const children = new Set<ChildProcess>()
  const fixture = fileURLToPath(new URL("../fixtures/accounting-process.ts", import.meta.url))
  const start = async (role: "producer" | "worker") => {
    const child = spawn(process.execPath, [fixture, role, redis.url, queue], {
      stdio: ["ignore", "pipe", "inherit"],
    })
    children.add(child)
    child.once("exit", () => children.delete(child))
    await once(child.stdout!, "data")
    return child
  }
  ends.push(async () => {
    for (const child of children) child.kill("SIGKILL")
  })
  const deadLetters = openDeadLetters({ connection: client, queue })
  ends.push(() => deadLetters.close())

  let looking = true
  const unbalanced: Accounts[] = []
  const uncounted: unknown[] = []
  let looks = 0
  const watch = (async () => {
    while (looking) {
      const now = await accounts()
      looks++
      if (now.missing !== 0) unbalanced.push(now)
      const bytes = await uncountedBytes()
      if (String(bytes) !== "0,0") uncounted.push(bytes)
      await sleep(1)
    }
  })()
  for (let round = 0; round < 4; round++) {
    const [producing, ...workers] = await Promise.all([start("producer"), start("worker"), start("worker")])
    await sleep(500 + 150 * round)
    producing.kill("SIGKILL")
    workers[0]!.kill("SIGKILL")
    workers[1]!.kill(round % 2 === 0 ? "SIGKILL" : "SIGTERM")
    for (const { jobId } of await deadLetters.list({ limit: 20 })) await deadLetters.redrive(jobId)
    await Promise.all(
      [producing, ...workers].map((child) => child.exitCode ?? child.signalCode ?? once(child, "exit")),
    )
  }
  looking = false
  await watch
  expect(unbalanced).toEqual([])
  expect(uncounted).toEqual([])
  expect(looks).toBeGreaterThan(100)
  // Both lanes had jobs.
  expect(await client.hlen(`${turnsKey(queue)}:bulk`)).toBeGreaterThan(0)
  const { accepted, committed } = await accounts()
  expect(accepted).toBeGreaterThan(50)
  expect(committed).toBeGreaterThan(10)

  // Every accepted job ends.
  consume(async () => ({}), { concurrency: 50 })
  await expect.poll(async () => (await accounts()).live, { timeout: 40_000, interval: 200 }).toBe(0)
  expect((await accounts()).missing).toBe(0)
  expect(await client.hget(countersKey(queue), "bytes")).toBe("0")
}, 120_000)
