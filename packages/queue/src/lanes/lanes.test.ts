/** Two lanes in one queue: their order, their fairness, and the share of the bulk lane. */
import { expect, test } from "vitest"
import {
  A,
  B,
  begun,
  bulk,
  bullKey,
  consume,
  creditOf,
  current,
  enqueue,
  lanesOf,
  line,
  live,
} from "../../../../test/harness/lanes.ts"
import type { Lane } from "../jobs/lane.ts"
import { turnsKey, unfinishedKey } from "../names.ts"
import { readQueueState } from "../observer/queue-state.ts"
import { queueStatus } from "../status.ts"

const GIB = 2 ** 30

test("live archives go before ten thousand bulk ones, and each lane is fair to both projects", async () => {
  await enqueue(10_000, () => bulk(A))
  await enqueue(40, () => bulk(B))
  await enqueue(20, () => live(A))
  await enqueue(20, () => live(B))
  const order = await begun(80, { bulkShare: 0 })
  expect(lanesOf(order)).toEqual([...Array(40).fill("live"), ...Array(40).fill("bulk")])
  for (const from of [0, 40]) {
    const some = order.slice(from, from + 20).filter(({ payload }) => payload.projectId === B)
    expect(some.length).toBeGreaterThanOrEqual(9)
    expect(some.length).toBeLessThanOrEqual(11)
  }
}, 120_000)

test("a status counts each lane, and finds the oldest archive of each behind a thousand others", async () => {
  const [oldBulk] = await enqueue(1_000, () => bulk(A))
  const [oldLive] = await enqueue(3, () => live(A))
  const age = async (jobId: string, lane: Lane, seconds: number) => {
    const at = Date.now() - seconds * 1_000
    await current.client.hset(bullKey(jobId), "timestamp", at)
    await current.client.zadd(unfinishedKey(current.name, lane), at, jobId)
  }
  await age(oldBulk!, "bulk", 86_400)
  await age(oldLive!, "live", 60)
  const { jobs, lanes, oldestWaitingSeconds } = await queueStatus(current.client, current.name)
  expect(jobs.waiting).toBe(1_003)
  expect(lanes).toMatchObject({ live: { waiting: 3 }, bulk: { waiting: 1_000 } })
  expect(oldestWaitingSeconds).toBe(lanes.live.oldestWaitingSeconds)
  const state = await readQueueState(current.client, current.name)
  for (const one of [lanes, state.lanes]) {
    expect(one.live.oldestWaitingSeconds).toBeGreaterThanOrEqual(60)
    expect(one.live.oldestWaitingSeconds).toBeLessThan(3_600)
    expect(one.bulk.oldestWaitingSeconds).toBeGreaterThanOrEqual(86_400)
  }
  expect(state.lanes).toMatchObject({ live: { waitingBytes: 3e6 }, bulk: { waitingBytes: 1e9 } })
  expect(state.oldestUnfinishedSeconds).toBeLessThan(3_600)
})

test("while live archives wait, the bulk lane gets its share in bytes: no less and no more", async () => {
  // A bulk archive costs four units and a live one costs one.
  await enqueue(100, () => bulk(A, { size: GIB / 2 }))
  await enqueue(400, () => live(B))
  const order = await begun(330, { bulkShare: 20 })
  const units = (lane: "live" | "bulk") =>
    order.reduce(
      (sum, { payload }) =>
        sum + (payload.lane === lane || (lane === "live" && !payload.lane) ? (lane === "bulk" ? 4 : 1) : 0),
      0,
    )
  const share = units("bulk") / (units("bulk") + units("live"))
  expect(share).toBeGreaterThan(0.18)
  expect(share).toBeLessThanOrEqual(0.2)
  // It gets its share evenly, and not only at the end.
  const first = order.slice(0, 40)
  expect(first.filter(({ payload }) => payload.lane === "bulk").length).toBeGreaterThanOrEqual(1)
}, 60_000)

test("a stream of live archives that never ends does not stop the bulk lane, however large its next archive is", async () => {
  await enqueue(2, () => bulk(A, { size: 64 * GIB }))
  await enqueue(60, () => live(B, { size: 64 * GIB }))
  const order = await begun(55, { bulkShare: 5 })
  expect(lanesOf(order).indexOf("bulk")).toBe(19)
  expect(lanesOf(order).filter((lane) => lane === "bulk")).toHaveLength(2)
})

test("with a share of 0, no bulk archive begins while a live one waits", async () => {
  await enqueue(5, () => bulk())
  await enqueue(60, () => live())
  expect(lanesOf(await begun(60, { bulkShare: 0 }))).toEqual(Array(60).fill("live"))
})

test("a bulk lane in which nothing waits saves nothing up, and what it gets in other ways is counted", async () => {
  await enqueue(30, () => live())
  await begun(30, { bulkShare: 50 })
  expect(await creditOf()).toBeNull()
  await enqueue(10, () => bulk())
  await enqueue(1, () => live())
  // One live archive earns one unit, which the first bulk one spends.
  expect(lanesOf(await begun(11, { bulkShare: 50 }))).toEqual(["live", ...Array(10).fill("bulk")])
  expect(await creditOf()).toBeNull()
})

test("a paused queue earns nothing, and neither loses nor moves a job", async () => {
  const [first] = await enqueue(2, () => bulk())
  await enqueue(2, () => live())
  await current.client.hset(`${turnsKey(current.name)}:bulk`, "credit", 100)
  await current.client.hset(bullKey("meta"), "paused", 1)
  consume(async () => ({}))
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect(await creditOf()).toBe("100")
  expect((await line())[2]).toBe(first)
})

test("damage to the lanes' own key does not keep a job from being taken", async () => {
  await enqueue(3, () => live())
  await enqueue(1, () => bulk())
  await current.client.set(`${turnsKey(current.name)}:bulk`, "no hash")
  expect(lanesOf(await begun(4))).toEqual(["live", "live", "live", "bulk"])
})
