import { randomUUID } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { UnsealError } from "@unseal/archive/errors"
import { expect, test } from "vitest"
import { useQueue } from "../../../../test/harness/queue.ts"
import { openDeadLetters } from "../dead-letters/dead-letters.ts"
import { createJobPayload, type JobPayload, jobIdOf } from "../jobs/job.ts"
import { queueKey, turnsKey } from "../names.ts"
import { createConsumer } from "../run/consumer.ts"
import { queueStatus } from "../status.ts"

const GIB = 2 ** 30
const [A, B, C] = ["100001", "200002", "300003"] as const
/** The live lane's. */
const LAST_PRIORITY = 2 ** 20 - 1

const current = useQueue("turns")

const payload = (projectId: string, size?: number): JobPayload =>
  createJobPayload({
    ...{ projectId, archiveId: randomUUID(), encryptedPassword: "d3JhcHBlZA==", status: "uploaded" },
    ...(size !== undefined && { size }),
    receivedAt: new Date().toISOString(),
    nonce: randomUUID(),
  })

/** Adds `count` archives of a project, in order. */
async function enqueue(projectId: string, count: number, size = 1_000_000): Promise<void> {
  for (let from = 0; from < count; from += 1_000)
    await Promise.all(
      Array.from({ length: Math.min(1_000, count - from) }, () =>
        current.producer.enqueue(payload(projectId, size)),
      ),
    )
}

/** The projects of the archives that are begun, in order, until there are `count`. Then the worker closes. */
async function begun(
  count: number,
  run: (payload: JobPayload) => Promise<void> = async () => {},
): Promise<string[]> {
  const order: string[] = []
  let ended = 0
  const enough = Promise.withResolvers<void>()
  const consumer = createConsumer({
    ...{ connection: current.client, queue: current.name, concurrency: 1 },
    async run(payload, context) {
      // Jobs handed back when the worker closes have not begun.
      if (order.length === count)
        await new Promise<never>((_, reject) => context.signal.addEventListener("abort", reject))
      order.push(payload.projectId)
      await run(payload)
      return {}
    },
    observe: {
      ended() {
        if (++ended === count) enough.resolve()
      },
    },
  })
  await enough.promise
  await consumer.close()
  return order
}

/** How many of `order` begin until the last of `projectId` has begun. */
const untilLast = (order: readonly string[], projectId: string) => order.lastIndexOf(projectId) + 1

const priorities = async (): Promise<number[]> => {
  const scored = await current.client.zrange(queueKey(current.name, "prioritized"), 0, "-1", "WITHSCORES")
  return scored.filter((_, index) => index % 2 === 1).map((score) => Math.floor(Number(score) / 2 ** 32))
}

test("ten archives behind another project's ten thousand are begun within twenty", async () => {
  await enqueue(A, 10_000)
  expect(await begun(100)).toEqual(Array(100).fill(A))
  await enqueue(B, 10)
  const order = await begun(30)
  expect(order.filter((id) => id === B)).toHaveLength(10)
  // The one that the first worker handed back is ahead of all.
  expect(untilLast(order, B)).toBeLessThanOrEqual(20)
}, 120_000)

test("a thousand small archives are not held up by ten huge ones, nor the huge ones by them", async () => {
  await enqueue(A, 10, 40 * GIB)
  await enqueue(B, 1_000)
  const order = await begun(1_010)
  const huge = order.slice(0, untilLast(order, B)).filter((id) => id === A)
  // 40 GiB are 320 units, and a small archive is one.
  expect(huge.length).toBeGreaterThanOrEqual(3)
  expect(huge.length).toBeLessThanOrEqual(5)
}, 60_000)

test("projects share by bytes: one archive of 1 GiB begins for eight of up to 128 MiB", async () => {
  await enqueue(A, 10, GIB)
  await enqueue(B, 80)
  const order = await begun(45)
  expect(order.filter((id) => id === A)).toHaveLength(5)
})

test("a project's own archives keep their order of arrival, whatever their size", async () => {
  const ids: string[] = []
  for (const size of [GIB, 1, undefined, 40 * GIB, 0]) {
    const one = payload(A, size)
    ids.push(jobIdOf(one))
    await current.producer.enqueue(one)
  }
  expect(await current.client.zrange(queueKey(current.name, "prioritized"), 0, "-1")).toEqual(ids)
})

test("a project is not penalised for what it used while it was alone", async () => {
  await enqueue(A, 50)
  await begun(50)
  await current.client.hset(turnsKey(current.name), "at", 0)
  await enqueue(A, 5)
  await enqueue(B, 5)
  const order = await begun(10)
  expect(untilLast(order, A)).toBeLessThanOrEqual(10)
  expect(order.slice(0, 4).filter((id) => id === A)).toHaveLength(2)
})

test("of many callbacks for one archive, only the first costs its project a turn", async () => {
  const one = payload(A, GIB)
  await current.producer.enqueue(one)
  for (let i = 0; i < 20; i++) await current.producer.enqueue({ ...one, nonce: randomUUID() })
  expect(await current.client.hget(turnsKey(current.name), A)).toBe("8")
})

test("virtual time overtakes tags for jobs that never came", async () => {
  await current.client.hset(turnsKey(current.name), { [A]: 40, end: 40 })
  await enqueue(B, 100)
  await begun(60)
  await enqueue(A, 1)
  expect(untilLast(await begun(5), A)).toBeLessThanOrEqual(2)
})

test("a hundred archives that failed and return do not go ahead of another project's ten", async () => {
  await enqueue(A, 100)
  await begun(100, async () => {
    throw new UnsealError("ERR_OBJECT_CHANGED", "another version is there")
  })
  // By then all of them are due: 1 s ± 50 %, the last one handed back or delayed.
  await sleep(1_600)
  await enqueue(B, 10)
  const order = await begun(40)
  expect(order.filter((id) => id === B)).toHaveLength(10)
  expect(untilLast(order, B)).toBeLessThanOrEqual(25)
})

test("archives whose object is not there yet do not go ahead of another project's ten", async () => {
  await enqueue(A, 100)
  await begun(100, async () => {
    throw new UnsealError("ERR_OBJECT_NOT_FOUND", "neither of 2 keys exists")
  })
  await sleep(1_600)
  await enqueue(B, 10)
  expect(untilLast(await begun(40), B)).toBeLessThanOrEqual(25)
})

test("a redriven dead letter takes a turn like a new job", async () => {
  await enqueue(A, 1)
  await begun(1, async () => {
    throw new UnsealError("ERR_NO_MATCHING_KEY", "none of 3 keys fits")
  })
  const letters = openDeadLetters({ connection: current.client, queue: current.name })
  await expect.poll(async () => (await letters.list()).length).toBe(1)
  await enqueue(B, 20)
  await letters.redrive((await letters.list())[0]!.jobId)
  await letters.close()
  expect(untilLast(await begun(10), A)).toBeGreaterThan(0)
})

test("waiting jobs are moved back when priorities run out, and keep their order", async () => {
  await current.client.hset(turnsKey(current.name), { clock: LAST_PRIORITY - 60, end: LAST_PRIORITY - 60 })
  // Nothing waits, so virtual time restarts at once.
  await enqueue(A, 1)
  expect(await priorities()).toEqual([1])
  await current.client.del(queueKey(current.name, "prioritized"))

  const before = LAST_PRIORITY - 150
  await current.client.hset(turnsKey(current.name), { clock: before, [A]: before, [C]: 5, end: before })
  const first = payload(A, 1)
  await current.client.zadd(queueKey(current.name, "prioritized"), before * 2 ** 32, jobIdOf(first))
  await current.client.hset(queueKey(current.name, jobIdOf(first)), {
    priority: before,
    data: JSON.stringify(first),
  })
  const delayed = queueKey(current.name, "late")
  await current.client.hset(delayed, { priority: before + 20 })
  await current.client.zadd(queueKey(current.name, "delayed"), Date.now() * 4096 * 2, "late")

  const ids = [jobIdOf(first)]
  for (let i = 0; i < 300; i++) {
    const one = payload(A, 1)
    ids.push(jobIdOf(one))
    await current.producer.enqueue(one)
  }
  expect(await current.client.zrange(queueKey(current.name, "prioritized"), 0, "-1")).toEqual(ids)
  const all = await priorities()
  expect(Math.max(...all)).toBeLessThan(400)
  const stored = await Promise.all(
    ids.map((id) => current.client.hget(queueKey(current.name, id), "priority")),
  )
  expect(stored.map(Number)).toEqual(all)
  expect(Number(await current.client.hget(delayed, "priority"))).toBeLessThan(30)
  expect(await current.client.hget(turnsKey(current.name), C)).toBeNull()
  // A job that arrives now is first.
  await enqueue(B, 1)
  expect(untilLast(await begun(2), B)).toBeLessThanOrEqual(2)
})

test("a backlog beyond the last priority is still taken, and nobody waits behind it", async () => {
  await enqueue(A, 1)
  await current.client.hset(turnsKey(current.name), { [A]: LAST_PRIORITY - 1 })
  await enqueue(A, 5)
  expect(await priorities()).toEqual([1, ...Array(5).fill(LAST_PRIORITY)])
  await enqueue(B, 2)
  expect((await begun(3)).sort()).toEqual([A, B, B])
})

test("a status counts the waiting jobs, and finds the oldest of them", async () => {
  await enqueue(A, 3)
  const [id] = await current.client.zrange(queueKey(current.name, "prioritized"), 1, "1")
  await current.client.hset(queueKey(current.name, id!), "timestamp", Date.now() - 60_000)
  const { jobs, oldestWaitingSeconds } = await queueStatus(current.client, current.name)
  expect(jobs).toMatchObject({ waiting: 3, active: 0 })
  expect(oldestWaitingSeconds).toBeGreaterThanOrEqual(60)
})
