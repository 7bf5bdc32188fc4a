/** Jobs that were tampered with, or torn, in Redis. */
import { randomUUID } from "node:crypto"
import { UnsealError } from "@unseal/archive/errors"
import { afterEach, expect, test } from "vitest"
import { useQueue } from "../../../../test/harness/queue.ts"
import { readAccounts } from "../accounting.ts"
import { openDeadLetters } from "../dead-letters/dead-letters.ts"
import { createJobPayload } from "../jobs/job.ts"
import { checkpointKey, queueKey } from "../names.ts"
import { queueStatus } from "../status.ts"
import { type Consumer, createConsumer, type JobContext } from "./consumer.ts"

const current = useQueue("damage")
let consumer: Consumer | undefined
afterEach(async () => {
  await consumer?.close()
  consumer = undefined
})

const payload = () =>
  createJobPayload({
    ...{
      projectId: "100001",
      archiveId: randomUUID(),
      encryptedPassword: "d3JhcHBlZA==",
      status: "uploaded",
    },
    ...{ receivedAt: new Date().toISOString(), nonce: randomUUID() },
  })
const enqueue = async () => (await current.producer.enqueue(payload())).jobId
const set = (jobId: string, field: string, value: string) =>
  current.client.hset(queueKey(current.name, jobId), field, value)
const jobs = async () => (await queueStatus(current.client, current.name)).jobs
const missing = async () => (await readAccounts(current.client, current.name)).missing

/** The codes of the dead letters, once no other jobs are left. */
async function deadLetters(run: () => Promise<object> = async () => ({})) {
  const { client: connection, name: queue } = current
  consumer = createConsumer({
    ...{ connection, queue, concurrency: 4, lockMs: 3_000, stallCheckMs: 300 },
    run: run as never,
    observe: { ended: () => {} },
  })
  await expect
    .poll(async () => ((now) => now.waiting + now.active + now.delayed)(await jobs()), { timeout: 15_000 })
    .toBe(0)
  const letters = openDeadLetters({ connection, queue })
  const listed = await letters.list()
  await letters.close()
  return listed
}

test("a job whose data are not JSON is a dead letter at once, and its neighbours run", async () => {
  const [torn] = [await enqueue(), await enqueue()]
  await set(torn, "data", '{"projectId":')
  expect(await deadLetters()).toMatchObject([{ jobId: torn, code: "ERR_JOB_INVALID", damaged: true }])
  expect((await jobs()).completed).toBe(1)
  expect(await missing()).toBe(0)
})

test("a job whose options, progress or parent are not JSON runs like any other", async () => {
  const damaged = [await enqueue(), await enqueue(), await enqueue(), await enqueue()]
  await set(damaged[0]!, "opts", '{"attempts":')
  await set(damaged[1]!, "opts", "null")
  await set(damaged[2]!, "progress", "{")
  await set(damaged[3]!, "parent", "{")
  expect(await deadLetters()).toEqual([])
  expect((await jobs()).completed).toBe(4)
  expect(await missing()).toBe(0)
})

test("a job whose data name another archive does not run", async () => {
  const jobId = await enqueue()
  await set(jobId, "data", JSON.stringify(payload()))
  let runs = 0
  const [letter] = await deadLetters(async () => ({ runs: ++runs }))
  expect(letter).toMatchObject({ jobId, code: "ERR_JOB_INVALID" })
  expect(letter!.reason).toContain("the job is damaged: its data and its id name different archives")
  expect(runs).toBe(0)
})

test("options and counters in a job decide nothing", async () => {
  const [removed, garbage] = [await enqueue(), await enqueue()]
  await set(removed, "opts", JSON.stringify({ removeOnFail: true, attempts: 99, de: true }))
  await set(garbage, "atm", "garbage")
  const fail = async () => {
    throw new UnsealError("ERR_NO_MATCHING_KEY", "no key fits")
  }
  const listed = await deadLetters(fail)
  expect(listed.map(({ jobId }) => jobId).sort()).toEqual([removed, garbage].sort())
  expect(await missing()).toBe(0)
})

test("an invalid checkpoint is removed, and the run starts over", async () => {
  const jobId = await enqueue()
  const key = checkpointKey(current.name, jobId)
  await current.client.set(key, "no hash")
  const loaded: unknown[] = []
  await deadLetters((async (_: unknown, { checkpoint }: JobContext) => {
    loaded.push(await checkpoint.load())
    return {}
  }) as never)
  expect(loaded).toEqual([null])
  expect((await jobs()).completed).toBe(1)
  expect(await current.client.exists(key)).toBe(0)
})

test("a callback takes the place of a job that has lost its payload, whatever its state was", async () => {
  const one = payload()
  const { jobId } = await current.producer.enqueue(one)
  await current.client.hdel(queueKey(current.name, jobId), "data")
  expect((await current.producer.enqueue(one)).outcome).toBe("enqueued")
  expect((await jobs()).waiting).toBe(1)
  expect(await missing()).toBe(0)

  expect(await deadLetters()).toEqual([])
  await current.client.hdel(queueKey(current.name, jobId), "data")
  expect((await current.producer.enqueue(one)).outcome).toBe("enqueued")
  await expect.poll(async () => (await jobs()).completed, { timeout: 10_000 }).toBe(1)
  expect(await missing()).toBe(0)
})

test("a damaged dead letter hides no other, is counted, and can't be redriven", async () => {
  const [torn, gone, whole] = [await enqueue(), await enqueue(), await enqueue()]
  await deadLetters(async () => {
    throw new UnsealError("ERR_NO_MATCHING_KEY", "no key fits")
  })
  await current.client.hdel(queueKey(current.name, torn), "timestamp", "finishedOn", "data")
  await current.client.del(queueKey(current.name, gone))
  const letters = openDeadLetters({ connection: current.client, queue: current.name })
  try {
    const listed = await letters.list()
    expect(listed.map(({ jobId }) => jobId).sort()).toEqual([torn, gone, whole].sort())
    const byId = new Map(listed.map((letter) => [letter.jobId, letter]))
    expect(byId.get(torn)).toMatchObject({ damaged: true, archiveId: torn.split("_")[1] })
    expect(byId.get(torn)!.reason).toContain("(damaged in redis)")
    expect(byId.get(gone)).toMatchObject({ damaged: true, projectId: "100001" })
    expect(byId.get(whole)!.damaged).toBeUndefined()
    expect((await letters.count()).total).toBe(3)
    for (const lost of [torn, gone])
      await expect(letters.redrive(lost)).rejects.toThrow(`${lost} has lost its payload in redis`)
    expect(await letters.redrive(whole)).toEqual({ jobId: `${whole}_r2` })
  } finally {
    await letters.close()
  }
})
