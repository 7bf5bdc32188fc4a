import { randomUUID } from "node:crypto"
import { Redis } from "ioredis"
import { afterEach, beforeEach, expect, test } from "vitest"
import { newPayload } from "../../../../test/harness/queue.ts"
import { type RedisServer, startRedis } from "../../../../test/harness/redis/redis.ts"
import { jobIdOf } from "../jobs/job.ts"
import { createProducer, type Producer } from "./producer.ts"
import { createReplicaWait } from "./replicated.ts"

const QUEUE = "replicated-test"

let ends: (() => Promise<unknown> | unknown)[]
let master: RedisServer
let replicas: RedisServer[]

beforeEach(async () => {
  ends = []
  master = await startRedis({ settings: ["--repl-diskless-sync-delay", "0"] })
  ends.push(() => master.close())
  replicas = []
  for (let index = 0; index < 2; index++) {
    const replica = await startRedis({ settings: ["--replicaof", "127.0.0.1", String(master.port)] })
    ends.push(() => replica.close())
    replicas.push(replica)
  }
  const client = connect()
  await client.set("marker", 1)
  expect(await client.wait(2, 30_000)).toBe(2)
})
afterEach(async () => {
  for (const replica of replicas) replica.thaw()
  for (const end of ends.reverse()) await end()
})

function connect(url = master.url): Redis {
  const connection = new Redis(url, { commandTimeout: 2_000, autoResendUnfulfilledCommands: false })
  connection.on("error", () => {})
  ends.push(() => connection.disconnect())
  return connection
}

function open(wanted: number): Producer {
  const producer = createProducer({
    ...{ connection: connect(), queue: QUEUE, replicas: wanted, deadlineMs: 10_000 },
  })
  ends.push(producer.close)
  return producer
}

test("a job is enqueued once enough replicas have it, alone and with many others", async () => {
  const producer = open(2)
  const answers = await Promise.all(Array.from({ length: 200 }, () => producer.enqueue(newPayload())))
  expect(new Set(answers.map(({ outcome }) => outcome))).toEqual(new Set(["enqueued"]))
  const copy = connect(replicas[1]!.url)
  for (const { jobId } of answers) expect(await copy.exists(`{${QUEUE}}:${QUEUE}:${jobId}`)).toBe(1)
})

test("with one replica too few, jobs are refused in numbers; the same callbacks are enqueued when it is back", async () => {
  const producer = open(2)
  const payloads = [newPayload(), newPayload(), newPayload()]
  replicas[0]!.freeze()
  const refusals = await Promise.allSettled(payloads.map((payload) => producer.enqueue(payload)))
  for (const refusal of refusals)
    expect(refusal).toMatchObject({
      reason: { name: "QueueUnavailableError", message: expect.stringMatching(/^[01] of 2 replicas/) },
    })
  replicas[0]!.thaw()
  const answers = await Promise.all(payloads.map((payload) => producer.enqueue(payload)))
  expect(answers.map(({ outcome }) => outcome)).toEqual(["enqueued", "enqueued", "enqueued"])
})

test("a duplicate of a job that no replica has is refused as well", async () => {
  const payload = newPayload()
  for (const replica of replicas) replica.freeze()
  expect((await open(0).enqueue(payload)).outcome).toBe("enqueued")
  const callback = { ...payload, nonce: randomUUID() }
  await expect(open(1).enqueue(callback)).rejects.toThrow("0 of 1 replicas of redis had the job")
})

test("a job that another master lacks counts as lost", async () => {
  const { jobId } = await open(0).enqueue(newPayload())
  const wait = createReplicaWait({ connection: connect(), queue: QUEUE, replicas: 1 })
  ends.push(wait.close)
  await wait.until(jobId)
  const lost = jobIdOf(newPayload())
  await expect(wait.until(lost)).rejects.toThrow(`a failover of redis lost job ${lost}`)
})

test("a Redis that does not answer refuses each wait, and takes the next ones when it is back", async () => {
  const { jobId } = await open(0).enqueue(newPayload())
  const wait = createReplicaWait({ connection: connect(), queue: QUEUE, replicas: 1 })
  ends.push(wait.close)
  await wait.until(jobId)
  master.freeze()
  ends.push(() => master.thaw())
  const first = wait.until(jobId)
  const second = wait.until(jobId)
  await expect(first).rejects.toThrow()
  await expect(second).rejects.toThrow()
  master.thaw()
  await expect.poll(() => wait.until(jobId).then(() => "there", String), { timeout: 20_000 }).toBe("there")
})

test("a producer that starts while Redis is down enqueues when it is up", async () => {
  await master.stop("SIGKILL")
  const connection = new Redis(master.url, { enableOfflineQueue: false, maxRetriesPerRequest: 0 })
  connection.on("error", () => {})
  ends.push(() => connection.disconnect())
  const producer = createProducer({ connection, queue: QUEUE, replicas: 1 })
  ends.push(producer.close)
  const payload = newPayload()
  await expect(producer.enqueue(payload)).rejects.toThrow("redis did not acknowledge the job")
  await master.restart()
  const outcome = () => producer.enqueue(payload).then(({ outcome }) => outcome, String)
  await expect.poll(outcome, { timeout: 60_000, interval: 200 }).toBe("enqueued")
})
