/** A suspension of a project that has archives in both lanes. */
import { expect } from "vitest"
import { newPayload } from "../../../../test/harness/queue.ts"
import { fails, SICK, test, WELL } from "../../../../test/harness/suspensions.ts"
import { createProducer } from "../enqueue/producer.ts"
import { heldKey, queueKey, turnsKey } from "../names.ts"
import { listSuspensions, resumeSuspended } from "./state.ts"

const BULK_FIRST = 2 ** 20

test.concurrent("what a suspension held returns to its lane, in its order, and live archives first", async ({
  rig: { client, queue, enqueue, consume, completed, accounts, field, poll },
}) => {
  let down = true
  const order: string[] = []
  const worker = consume(
    async ({ projectId }, { jobId }) => {
      if (projectId === SICK && down) throw fails("ERR_STORE_DENIED", "source")
      order.push(jobId)
      return {}
    },
    { concurrency: 1, bulkShare: 0 },
  )
  const bulk = await enqueue(SICK, 600, { lane: "bulk" })
  const live = await enqueue(SICK, 30)
  await poll(async () => (await listSuspensions(client, queue))[0]?.held).toBe(630)
  const held = heldKey(queue, `${SICK}:source`)
  // All live ones are before all bulk ones. Both are in the order of their arrival, apart from those that were tried.
  const isLive = new Set(live)
  expect((await client.zrange(held, 0, "29")).every((id) => isLive.has(id))).toBe(true)
  // Another project has bulk archives, and the turns were moved back meanwhile, as fair-queue.ts does it.
  await client.hset(`${turnsKey(queue)}:bulk`, { base: 700_000, clock: 0, end: 0, [SICK]: 0 })
  const others = await enqueue(WELL, 20, { lane: "bulk" })
  await poll(async () => (await completed()).filter((id) => others.includes(id)).length).toBe(20)

  // A callback makes a held bulk archive live: it is held among the live ones.
  const promoted = bulk[500]!
  const data = JSON.parse((await field(promoted, "data"))!)
  const producer = createProducer({ connection: client, queue, deadlineMs: 30_000 })
  const { outcome } = await producer.enqueue(newPayload(SICK, { archiveId: data.archiveId }))
  await producer.close()
  expect(outcome).toBe("duplicate")
  expect(await client.zrank(held, promoted)).toBeLessThan(31)
  expect(Number(await field(promoted, "priority"))).toBeLessThan(BULK_FIRST)

  order.length = 0
  down = false
  await poll(() => order.length, 60_000).toBe(630)
  // The probe may be of either lane. All live archives begin before the bulk ones, except within the first batch.
  const bulkBefore = order.slice(0, 31).filter((id) => !isLive.has(id) && id !== promoted)
  expect(bulkBefore.length).toBeLessThanOrEqual(2)
  const begun = order.filter((id) => !isLive.has(id) && id !== promoted)
  const wanted = bulk.filter((id) => id !== promoted)
  const moved = begun.filter((id, index) => wanted[index] !== id)
  // Probes go first, whatever their place was.
  expect(new Set(begun)).toEqual(new Set(wanted))
  expect(begun.slice(-400)).toEqual(wanted.slice(-400))
  expect(moved.length).toBeLessThan(200)
  expect(await accounts()).toMatchObject({ committed: 650, deadLetters: 0, live: 0 })
  expect(worker.ended.every(({ ending }) => ending.kind !== "retry")).toBe(true)
  expect(await client.zcard(queueKey(queue, "prioritized"))).toBe(0)
}, 90_000)

test.concurrent("jobs that are released are in their lane's half of the priorities", async ({
  rig: { client, queue, enqueue, consume, field, poll },
}) => {
  let down = true
  const first = consume(
    async () => {
      if (down) throw fails("ERR_STORE_DENIED", "source")
      return {}
    },
    { concurrency: 1 },
  )
  const bulk = await enqueue(SICK, 40, { lane: "bulk" })
  const live = await enqueue(SICK, 40)
  await poll(async () => (await listSuspensions(client, queue))[0]?.held).toBe(80)
  // Nothing is taken while the queue is paused, but a worker puts everything back in line.
  await client.hset(queueKey(queue, "meta"), "paused", 1)
  await resumeSuspended(client, queue, {})
  await poll(() => client.zcard(queueKey(queue, "prioritized"))).toBeGreaterThanOrEqual(79)
  const line = await client.zrange(queueKey(queue, "prioritized"), 0, "-1")
  const lanes = line.map((id) => live.includes(id))
  expect(lanes.indexOf(false)).toBe(lanes.lastIndexOf(true) + 1)
  for (const id of line) {
    const priority = Number(await field(id, "priority"))
    expect(priority >= BULK_FIRST).toBe(bulk.includes(id))
  }
  down = false
  await client.hdel(queueKey(queue, "meta"), "paused")
  await poll(() => first.ended.filter(({ ending }) => ending.kind === "committed").length).toBe(80)
}, 60_000)
