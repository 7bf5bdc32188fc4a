/** Jobs that end or freeze their workers, on a real queue. */
import { spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { Redis } from "ioredis"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { newPayload } from "../../../../test/harness/queue.ts"
import { type RedisServer, startRedis } from "../../../../test/harness/redis/redis.ts"
import { createProducer, type Producer } from "../enqueue/producer.ts"
import { queueKey } from "../names.ts"
import { createConsumer, type JobContext } from "../run/consumer.ts"
import { ALONE_FROM_FREEZES, ALONE_FROM_STALLS, createRoom, FREEZE_LIMIT } from "./alone.ts"

let redis: RedisServer
let client: Redis
let queue: string
let producer: Producer
let ends: (() => unknown)[]
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.close())
beforeEach(() => {
  queue = `alone-${randomUUID().slice(0, 8)}`
  client = new Redis(redis.url)
  producer = createProducer({ connection: client, queue, deadlineMs: 10_000 })
  ends = [() => client.disconnect(), () => producer.close()]
})
afterEach(async () => {
  for (const end of ends.reverse()) await end()
})

/** Enqueues an archive whose id begins with `digit`. */
async function enqueue(digit: string): Promise<string> {
  const { jobId } = await producer.enqueue(newPayload("100001", { archiveId: digit + randomUUID().slice(1) }))
  return jobId
}

const count = (state: string) => client.zcard(queueKey(queue, state))
const enqueueMany = (number: number) => Promise.all(Array.from({ length: number }, () => enqueue("1")))

test("a job that blocks its workers past the lock costs a few of them, and other jobs nothing", async () => {
  const fixture = fileURLToPath(new URL("../../fixtures/freezing-process.ts", import.meta.url))
  const begun: string[] = []
  const others = enqueueMany(10)
  const jobId = await enqueue("0")
  await Promise.all([others, enqueueMany(10)])
  for (let number = 0; number < 3; number++) {
    const worker = spawn(process.execPath, [fixture, redis.url, queue], {
      stdio: ["ignore", "pipe", "inherit"],
    })
    ends.push(() => worker.kill("SIGKILL"))
    createInterface({ input: worker.stdout }).on("line", (line) => begun.push(line))
    await once(worker.stdout, "data")
  }
  await expect.poll(() => count("failed"), { timeout: 90_000 }).toBe(1)
  // One more than the limit if another worker began it before the last freeze was noted.
  expect(await client.hget(queueKey(queue, jobId), "failedReason")).toMatch(
    /^ERR_STALLED: it ran alone and blocked its worker for longer than 1 s, [2-4] times$/,
  )
  await expect.poll(() => count("completed"), { timeout: 30_000 }).toBe(20)
  // During a freeze another worker may begin the job before anything is noted: two at a time with this lock. Without notes it would be 21.
  expect(begun.filter((line) => line === jobId).length).toBeLessThanOrEqual(
    2 * (ALONE_FROM_FREEZES + FREEZE_LIMIT),
  )
}, 150_000)

test.each([
  ["stc", ALONE_FROM_STALLS],
  ["froze", ALONE_FROM_FREEZES],
])(
  "a job is alone in its worker from a %s of %i on, once those have ended that run there",
  async (field, limit) => {
    const running = new Set<string>()
    const together: string[][] = []
    await enqueueMany(3)
    const suspects = [await enqueue("0"), await enqueue("0")]
    await enqueueMany(6)
    for (const jobId of suspects) await client.hset(queueKey(queue, jobId), { stc: 1, [field]: limit })
    const consumer = createConsumer({
      ...{ connection: client, queue, concurrency: 4, lockMs: 2_000, stallCheckMs: 200 },
      async run(_, { jobId, signal }: JobContext) {
        running.add(jobId)
        together.push([...running])
        await sleep(400, undefined, { signal })
        running.delete(jobId)
        return {}
      },
      observe: { ended() {} },
    })
    ends.push(() => consumer.close())
    await expect.poll(() => count("completed"), { timeout: 30_000 }).toBe(11)
    for (const jobId of suspects) expect(together.filter((jobs) => jobs.includes(jobId))).toEqual([[jobId]])
    expect(Math.max(...together.map((jobs) => jobs.length))).toBeGreaterThan(2)
  },
  60_000,
)

test("a worker that closes hands back both the job that waits to be alone and the one that it waits for", async () => {
  const first = await enqueue("1")
  const suspect = await enqueue("0")
  await client.hset(queueKey(queue, suspect), "stc", ALONE_FROM_STALLS)
  const begun: string[] = []
  const start = () =>
    createConsumer({
      ...{ connection: client, queue, concurrency: 4, lockMs: 2_000, stallCheckMs: 200 },
      async run(_, { jobId, signal }: JobContext) {
        begun.push(jobId)
        if (begun.length === 1) await sleep(60_000, undefined, { signal })
        return {}
      },
      observe: { ended() {} },
    })
  const closed = start()
  await expect.poll(() => closed.active, { timeout: 10_000 }).toBe(2)
  await closed.close()
  expect([begun, closed.active]).toEqual([[first], 0])
  const consumer = start()
  ends.push(() => consumer.close())
  await expect.poll(() => count("completed"), { timeout: 10_000 }).toBe(2)
  expect([begun.length, new Set(begun)]).toEqual([3, new Set([first, suspect])])
  expect(await client.hget(queueKey(queue, suspect), "stc")).toBe(String(ALONE_FROM_STALLS))
}, 30_000)

describe("a room", () => {
  const signal = new AbortController().signal
  const door: string[] = []
  const open = () => {
    door.length = 0
    return createRoom({ close: (jobId) => door.push(`closed for ${jobId}`), open: () => door.push("opened") })
  }

  test("admits a run that must be alone when the others have left, and nobody else meanwhile", async () => {
    const room = open()
    const leave = await room.enter("a", false, signal)
    let isAlone = false
    const entering = room.enter("b", true, signal).then((leaveAlone) => {
      isAlone = true
      return leaveAlone
    })
    expect(await room.enter("c", false, signal)).toBeNull()
    expect(await room.enter("d", true, signal)).toBeNull()
    expect([isAlone, [...room.inside]]).toEqual([false, [["a", false]]])
    leave?.()
    const leaveAlone = await entering
    expect([...room.inside]).toEqual([["b", true]])
    expect(await room.enter("c", false, signal)).toBeNull()
    leaveAlone?.()
    expect(door).toEqual(["closed for b", "opened"])
    expect(await room.enter("c", false, signal)).toBeTypeOf("function")
  })

  test("opens again when the run that waits to be alone is aborted", async () => {
    const room = open()
    await room.enter("a", false, signal)
    const abort = new AbortController()
    const entering = room.enter("b", true, abort.signal)
    abort.abort(new Error("the process ends"))
    await expect(entering).rejects.toThrow("the process ends")
    expect(door).toEqual(["closed for b", "opened"])
    expect(await room.enter("c", false, signal)).toBeTypeOf("function")
    await expect(room.enter("d", true, AbortSignal.abort("why"))).rejects.toBe("why")
    expect(await room.enter("e", false, signal)).toBeTypeOf("function")
  })
})
