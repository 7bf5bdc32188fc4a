/** A queue that works while its Redis changes under it. */
import { randomUUID } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { readAccounts } from "@unseal/queue/accounting"
import { createProducer } from "@unseal/queue/enqueue/producer"
import { createJobPayload } from "@unseal/queue/jobs/job"
import { pauseQueue, resumeQueue } from "@unseal/queue/pause"
import { createConsumer } from "@unseal/queue/run/consumer"
import { createRedis } from "@unseal/service/redis/redis"
import { type RedisForm, type RedisFormName, startRedisForm } from "@unseal/test/harness/redis/form"
import { Redis } from "ioredis"
import { test as base } from "vitest"

const QUEUE = "unseal"
const SOON = { timeout: 90_000, interval: 200 }

/** A producer and a consumer whose jobs take a moment. The cases mostly wait, so they run side by side. */
const test = base.extend("start", ({ task }, { onCleanup }) => {
  const ends = new AsyncDisposableStack()
  onCleanup(() => ends.disposeAsync())
  const { expect } = task.context

  return async function start(name: RedisFormName) {
    const form: RedisForm = await startRedisForm(name)
    ends.defer(() => form.close())
    const client = createRedis({ REDIS_URL: form.url, ...form.env }, {})
    client.on("error", () => {})
    ends.defer(() => client.disconnect())
    await client.connect()
    const producer = createProducer({ connection: client, queue: QUEUE, deadlineMs: 5_000 })
    const consumer = createConsumer({
      ...{ connection: client, queue: QUEUE, concurrency: 2, lockMs: 5_000, stallCheckMs: 500 },
      run: async () => {
        await sleep(50)
        return {}
      },
      observe: { ended() {} },
    })
    ends.defer(() => producer.close())
    ends.defer(() => consumer.close())
    /** Retries until the job is accepted, as the vendor's callbacks do. */
    async function enqueue(): Promise<void> {
      const payload = createJobPayload({
        ...{ projectId: "100001", archiveId: randomUUID(), encryptedPassword: "d3JhcHBlZA==" },
        ...{ status: "uploaded", receivedAt: new Date().toISOString(), nonce: randomUUID() },
      })
      for (let tries = 0; ; tries++)
        try {
          await producer.enqueue(payload)
          return
        } catch (error) {
          if (tries > 100) throw error
          await sleep(200)
        }
    }
    const done = (count: number) =>
      expect
        .poll(() => readAccounts(client, QUEUE), SOON)
        .toMatchObject({ accepted: count, committed: count, live: 0, deadLetters: 0, missing: 0 })
    /** Another connection, to one server. */
    const connect = (url: string) => {
      const direct = new Redis(url)
      ends.defer(() => direct.disconnect())
      return direct
    }
    return { form, client, consumer, enqueue, done, connect }
  }
})

test.concurrent("nobody misses the sentinels while the master is there", { timeout: 180_000 }, async ({
  start,
}) => {
  const { form, enqueue, done } = await start("sentinel")
  for (let number = 0; number < 5; number++) await enqueue()
  await form.sentinel!.stopSentinels()
  const until = Date.now() + 6_000
  let count = 5
  for (; Date.now() < until; count++) {
    await enqueue()
    await sleep(300)
  }
  await done(count)
  await form.sentinel!.startSentinels()
  await enqueue()
  await done(count + 1)
})

test.concurrent("a master that becomes a replica under a waiting worker, and back, costs only time", {
  timeout: 180_000,
}, async ({ start }) => {
  const { form, enqueue, done, connect } = await start("plain")
  await enqueue()
  // By now the worker waits in a blocking command.
  await done(1)
  const admin = connect(form.url)
  // A replica of nothing: it refuses all writes, and keeps its data.
  await admin.replicaof("127.0.0.1", 1)
  const adding = Promise.all(Array.from({ length: 5 }, enqueue))
  await sleep(3_000)
  await admin.replicaof("NO", "ONE")
  await adding
  await done(6)
  for (let number = 0; number < 20; number++) await enqueue()
  await admin.replicaof("127.0.0.1", 1)
  await sleep(3_000)
  await admin.replicaof("NO", "ONE")
  await done(26)
})

test.concurrent("a paused queue's slot moves to another master, and nothing is lost", {
  timeout: 180_000,
}, async ({ start, expect }) => {
  const { form, client, consumer, enqueue, done } = await start("cluster")
  for (let number = 0; number < 5; number++) await enqueue()
  await pauseQueue(client, QUEUE)
  await expect.poll(() => consumer.active, SOON).toBe(0)
  let adding: Promise<unknown> = Promise.resolve()
  const before = await form.cluster!.masterOf(QUEUE)
  await form.cluster!.moveSlot(QUEUE, async () => {
    adding = Promise.all(Array.from({ length: 5 }, enqueue))
    await sleep(1_000)
  })
  await adding
  expect(await form.cluster!.masterOf(QUEUE)).not.toBe(before)
  expect(await readAccounts(client, QUEUE)).toMatchObject({ accepted: 10, missing: 0 })
  await resumeQueue(client, QUEUE)
  await done(10)
})

test.concurrent("a script fails halfway if part of its slot has moved, so a queue must be paused first", {
  timeout: 180_000,
}, async ({ start, expect }) => {
  const { form, client, consumer, connect } = await start("cluster")
  await consumer.close()
  const keys = Array.from({ length: 10 }, (_, number) => `{${QUEUE}}:${number}`)
  for (const key of keys) await client.set(key, "before")
  const master = connect(`redis://:redis-pw@127.0.0.1:${(await form.cluster!.masterOf(QUEUE)).port}`)
  const script = "redis.call('SET', KEYS[1], 'written') return redis.call('GET', ARGV[1])"
  let outcome: unknown
  let left: unknown
  await form.cluster!.moveSlot(QUEUE, async () => {
    // Three have moved by now.
    for (const key of keys) {
      if ((await master.exists(key).catch(() => 0)) === 0) continue
      outcome = await master.eval(script, 1, key, `{${QUEUE}}:moved`).catch((error: Error) => error.message)
      left = await master.get(key)
      return
    }
  })
  expect(outcome).toMatch(/non local key/)
  expect(left).toBe("written")
})
