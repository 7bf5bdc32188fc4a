/** How a job changes its lane, and how it returns to it. */
import { randomUUID } from "node:crypto"
import { UnsealError } from "@unseal/archive/errors"
import { expect, test } from "vitest"
import {
  A,
  B,
  BULK_FIRST,
  begun,
  bulk,
  bulkBytes,
  bullKey,
  consume,
  current,
  enqueue,
  field,
  line,
  live,
  SOON,
} from "../../../../test/harness/lanes.ts"
import { newPayload } from "../../../../test/harness/queue.ts"
import { readAccounts } from "../accounting.ts"
import { openDeadLetters } from "../dead-letters/dead-letters.ts"
import { jobIdOf } from "../jobs/job.ts"
import { turnsKey, unfinishedKey } from "../names.ts"
import { returnStalled } from "./head-of-line.ts"

test("a live callback makes a waiting bulk job live: its place, its payload and its age", async () => {
  const one = bulk(A, { receivedAt: "2020-01-01T00:00:00.000Z" })
  await enqueue(50, () => bulk())
  const { jobId } = await current.producer.enqueue(one)
  await current.client.hset(bullKey(jobId), "timestamp", 1)
  const callback = {
    ...live(),
    archiveId: one.archiveId,
    size: 7,
    status: "available",
    url: "https://v.test/a?s=1",
  }
  expect(jobIdOf(callback)).toBe(jobId)
  const before = await bulkBytes()
  for (let again = 0; again < 3; again++)
    expect(await current.producer.enqueue(callback)).toEqual({ outcome: "duplicate", jobId })
  expect((await line())[0]).toBe(jobId)
  expect(Number(await field(jobId, "priority"))).toBeLessThan(BULK_FIRST)
  expect(JSON.parse((await field(jobId, "data"))!)).toEqual({ ...callback, nonce: one.nonce })
  expect(Number(await field(jobId, "timestamp"))).toBeGreaterThan(Date.now() - 60_000)
  expect(await bulkBytes()).toBe(before - 1_000_000)
  expect(await current.client.zscore(unfinishedKey(current.name, "bulk"), jobId)).toBeNull()
  expect(await current.client.zscore(unfinishedKey(current.name, "live"), jobId)).not.toBeNull()
  expect(await readAccounts(current.client, current.name)).toMatchObject({
    accepted: 51,
    live: 51,
    missing: 0,
  })
  // A second start of the backfill submits it again as bulk, which changes nothing.
  expect((await current.producer.enqueue({ ...one, nonce: randomUUID() })).outcome).toBe("duplicate")
  expect((await line())[0]).toBe(jobId)
  const [first] = await begun(1)
  expect(first!.payload).toEqual({ ...callback, nonce: one.nonce })
})

test("a bulk job whose nonce can't be read becomes live with its own payload", async () => {
  const one = bulk(A, { nonce: 'a "quoted" one' })
  const { jobId } = await current.producer.enqueue(one)
  await current.producer.enqueue({ ...live(), archiveId: one.archiveId })
  const { lane: _, ...kept } = one
  expect(JSON.parse((await field(jobId, "data"))!)).toEqual(kept)
})

test("a payload that only mentions the bulk lane in a text is live", async () => {
  const trick = live(A, { nonce: 'x","lane":"bulk', status: '"lane":"bulk"' })
  const { jobId } = await current.producer.enqueue(trick)
  expect(Number(await field(jobId, "priority"))).toBeLessThan(BULK_FIRST)
})

test("a delayed bulk job that becomes live returns to the live line, and a running one that fails does too", async () => {
  const missing = () => new UnsealError("ERR_OBJECT_NOT_FOUND", "neither of 2 keys exists")
  const [delayed, running] = [bulk(), bulk()]
  const { jobId: first } = await current.producer.enqueue(delayed)
  const consumer = consume(async () => {
    throw missing()
  })
  await expect.poll(() => current.client.zscore(bullKey("delayed"), first), SOON).not.toBeNull()
  await consumer.close()
  expect(Number(await field(first, "priority"))).toBeGreaterThanOrEqual(BULK_FIRST)
  await current.producer.enqueue({ ...live(), archiveId: delayed.archiveId })
  expect(Number(await field(first, "priority"))).toBeLessThan(BULK_FIRST)

  const { jobId: second } = await current.producer.enqueue(running)
  await begun(1, {}, async ({ jobId, payload }) => {
    const { archiveId } = payload
    await current.producer.enqueue({ ...live(), archiveId })
    if (jobId === second) throw missing()
  })
  for (const jobId of [first, second]) {
    expect(await field(jobId, "data")).not.toContain("bulk")
    expect(Number(await field(jobId, "priority"))).toBeLessThan(BULK_FIRST)
  }
  expect(await bulkBytes()).toBe(0)
})

test("a bulk archive whose object is missing is given up after a quarter of an hour, but a live one is not", async () => {
  const MINUTE_MS = 60_000
  const [late, young] = await enqueue(2, () => bulk())
  const [callback] = await enqueue(1, () => live())
  const missing = (jobId: string, minutes: number) =>
    current.client.hset(bullKey(jobId), "missingSince", Date.now() - minutes * MINUTE_MS)
  await missing(late!, 16)
  await missing(young!, 5)
  await missing(callback!, 16)
  consume(async () => {
    throw new UnsealError("ERR_OBJECT_NOT_FOUND", "neither of 2 keys exists")
  })
  await expect.poll(() => current.client.zrange(bullKey("failed"), 0, "-1"), SOON).toEqual([late])
  await expect.poll(() => current.client.zcard(bullKey("delayed")), SOON).toBe(2)
})

test("a bulk job that is handed back is the first of its lane, after every live job", async () => {
  await enqueue(20, () => bulk())
  const consumer = consume(
    (_, { signal }) =>
      new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
  )
  await expect.poll(() => current.client.llen(bullKey("active")), SOON).toBe(1)
  const [running] = await current.client.lrange(bullKey("active"), 0, "-1")
  const [liveId] = await enqueue(1, () => live(B))
  await consumer.close()
  expect((await line()).slice(0, 2)).toEqual([liveId, running])
  expect(await current.client.llen(bullKey("wait"))).toBe(0)
  expect(await current.client.exists(`${bullKey(running!)}:lock`)).toBe(0)
  expect(await field(running!, "atm")).toBeNull()
  // Virtual time does not go back with it: another project's next archive is not ahead of the whole line.
  const [other] = await enqueue(1, () => bulk(B))
  const [returned, next] = await Promise.all([running!, other!].map((id) => field(id, "priority")))
  expect(Number(next)).toBeGreaterThanOrEqual(Number(returned) - 1)
  expect((await begun(3)).map(({ jobId }) => jobId).slice(1)).toContain(running)
})

test("a bulk job whose worker died goes to the head of its lane, not of all", async () => {
  const [id] = await enqueue(5, () => bulk())
  const [liveId] = await enqueue(1, () => live())
  // As BullMQ leaves a stalled job.
  await current.client.zrem(bullKey("prioritized"), id!)
  await current.client.rpush(bullKey("wait"), id!)
  await returnStalled(current.client, current.name, id!)
  expect((await line()).slice(0, 2)).toEqual([liveId, id])
  expect(await current.client.llen(bullKey("wait"))).toBe(0)
  // A live one stays where BullMQ put it.
  await current.client.zrem(bullKey("prioritized"), liveId!)
  await current.client.rpush(bullKey("wait"), liveId!)
  await returnStalled(current.client, current.name, liveId!)
  expect(await current.client.lrange(bullKey("wait"), 0, "-1")).toEqual([liveId])
})

test("a bulk job whose worker has disappeared waits behind the live ones, and everything is done once", async () => {
  const [lost] = await enqueue(3, () => bulk())
  await enqueue(3, () => live())
  // As a killed worker leaves it.
  await current.client.zrem(bullKey("prioritized"), lost!)
  await current.client.lpush(bullKey("active"), lost!)
  const order: string[] = []
  consume(
    async (payload) => {
      if (order.length === 0)
        await expect.poll(() => current.client.zscore(bullKey("prioritized"), lost!), SOON).not.toBeNull()
      order.push(payload.lane ?? "live")
      return {}
    },
    { stallCheckMs: 200, bulkShare: 0 },
  )
  await expect.poll(() => order.length, SOON).toBe(6)
  expect(order).toEqual(["live", "live", "live", "bulk", "bulk", "bulk"])
  await expect
    .poll(() => readAccounts(current.client, current.name), SOON)
    .toMatchObject({ committed: 6, live: 0, missing: 0 })
}, 60_000)

test("a redriven dead letter keeps its lane, unless another is given", async () => {
  const ids = await enqueue(3, () => bulk())
  await begun(3, {}, async () => {
    throw new UnsealError("ERR_NO_MATCHING_KEY", "none of 3 keys fits")
  })
  const letters = openDeadLetters({ connection: current.client, queue: current.name })
  expect((await letters.list()).map(({ lane }) => lane)).toEqual(["bulk", "bulk", "bulk"])
  const redriven = await Promise.all([
    letters.redrive(ids[0]!),
    letters.redrive(ids[1]!, "live"),
    letters.redrive(ids[2]!, "bulk"),
  ])
  await letters.close()
  const lanes = await Promise.all(
    redriven.map(async (one) => Number(await field(one!.jobId, "priority")) >= BULK_FIRST),
  )
  expect(lanes).toEqual([true, false, true])
  expect(await bulkBytes()).toBe(2_000_000)
  expect((await begun(1))[0]!.jobId).toBe(redriven[1]!.jobId)
})

test("jobs of version 0.1.0 are moved into the live half once, in their order, wherever they are", async () => {
  // Its one line used all 2^21 priorities, and its payloads had no lane.
  const clock = 1_900_000
  const old = Array.from({ length: 1_500 }, () => newPayload(A))
  const ids = old.map(jobIdOf)
  const writing = current.client.pipeline()
  for (const [index, payload] of old.entries()) {
    const priority = clock + 2 + index
    writing.hset(bullKey(ids[index]!), {
      name: "decrypt",
      data: JSON.stringify(payload),
      priority,
      timestamp: 1,
    })
    if (index < 1_400) writing.zadd(bullKey("prioritized"), priority * 2 ** 32 + index, ids[index]!)
    else writing.zadd(bullKey("delayed"), (Date.now() + 3_600_000) * 4096, ids[index]!)
  }
  writing.hset(turnsKey(current.name), { clock, end: clock + 1_500, [A]: clock + 1_500, at: 0 })
  await writing.exec()
  const [first] = await enqueue(1, () => bulk(B))
  expect(await line()).toEqual([...ids.slice(0, 1_400), first])
  expect(Number(await field(ids[1_399]!, "priority"))).toBe(1_401)
  expect(Number(await field(ids[1_499]!, "priority"))).toBe(1_501)
  expect(Number(await field(first!, "priority"))).toBe(BULK_FIRST)
  // A live archive that arrives now takes its turn among them.
  const [next] = await enqueue(1, () => live(B))
  expect((await line()).indexOf(next!)).toBeLessThanOrEqual(2)
  // The mark is lost with all tags: bulk jobs stay where they are.
  await current.client.del(turnsKey(current.name))
  await enqueue(1, () => live(B))
  expect((await line()).at(-1)).toBe(first)
})

test("the bulk half's priorities run out without touching the live half", async () => {
  const tags = `${turnsKey(current.name)}:bulk`
  const [liveId] = await enqueue(1, () => live())
  const priority = await field(liveId!, "priority")
  const before = 2 ** 20 - 100
  const [one] = await enqueue(1, () => bulk())
  await current.client.hset(tags, { clock: before, [A]: before, end: before })
  await current.client.zadd(bullKey("prioritized"), (BULK_FIRST + before) * 2 ** 32, one!)
  await current.client.hset(bullKey(one!), "priority", BULK_FIRST + before)
  const ids = await enqueue(300, () => bulk())
  expect(await line()).toEqual([liveId, one, ...ids])
  expect(await field(liveId!, "priority")).toBe(priority)
  const stored = await Promise.all(ids.map((id) => field(id, "priority")))
  expect(Math.max(...stored.map(Number))).toBeLessThan(BULK_FIRST + 400)
  expect(Math.min(...stored.map(Number))).toBeGreaterThanOrEqual(BULK_FIRST)
})
