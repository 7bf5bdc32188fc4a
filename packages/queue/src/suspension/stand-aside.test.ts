import { expect, test } from "vitest"
import { newPayload, useQueue } from "../../../../test/harness/queue.ts"
import { queueKey } from "../names.ts"
import { type AsideOptions, createAsides, MOST_STRIKES } from "./stand-aside.ts"

const NAME = "100001:source"
const failure = (strikes: number, at = 1) =>
  ({ strikes, at, code: "ERR_STORE_DENIED", reason: "ERR_STORE_DENIED: no", remedy: "mend it" }) as const

function start() {
  const clock = { now: 0 }
  // Any request to Redis fails.
  const nobody = {} as AsideOptions["connection"]
  const asides = createAsides({ connection: nobody, queue: "q", now: () => clock.now })
  return { asides, clock, runs: (jobId: string) => asides.admits([NAME, "100001:keys"], jobId) }
}

test("looks again with one archive at a time, at intervals that grow to a minute", () => {
  const { asides, clock, runs } = start()
  asides.failed(NAME, failure(MOST_STRIKES))
  const looks: number[] = []
  for (let job = 0; looks.length < 6; clock.now += 500) {
    if (!runs(`job-${job}`)) continue
    looks.push(clock.now)
    expect(runs("another")).toBe(false)
    asides.failed(NAME, failure(MOST_STRIKES))
    asides.ended(`job-${job++}`)
  }
  expect(looks.map((at, index) => at - (looks[index - 1] ?? 0))).toEqual([
    5_000, 10_000, 20_000, 40_000, 60_000, 60_000,
  ])
})

test("a look without a result is followed by another at once, and a successful one by all", () => {
  const { asides, clock, runs } = start()
  asides.failed(NAME, failure(MOST_STRIKES))
  clock.now = 5_000
  expect([runs("first"), runs("second")]).toEqual([true, false])
  asides.ended("first")
  expect(runs("second")).toBe(true)
  asides.worked(NAME)
  expect([runs("third"), runs("fourth"), asides.list()]).toEqual([true, true, []])
  expect(asides.failing(NAME)).toEqual({ lastHitAt: 0, strikes: 0 })
})

test("one failure is not enough, and a worker that stands aside from nothing does not ask before it takes a job", async () => {
  const { asides, runs } = start()
  asides.failed(NAME, failure(1, 17))
  expect([runs("a"), asides.list(), await asides.mayTake()]).toEqual([true, [], true])
  expect(asides.failing(NAME)).toEqual({ lastHitAt: 17, strikes: 1 })
})

const queue = useQueue("stand-aside")

test.each([
  ["vendor", [1, 3, 5]],
  ["source", [5]],
] as const)(
  "takes what needs nothing of the %s from behind what does, and nothing else",
  async (side, taken) => {
    const { client, name, producer } = queue
    const asides = createAsides({ connection: client, queue: name, now: () => 0 })
    asides.failed(`100001:${side}`, failure(MOST_STRIKES))
    const ids: string[] = []
    for (const status of ["available", "uploaded", "available", "uploaded", "available"])
      ids.push((await producer.enqueue(newPayload("100001", { status }))).jobId)
    ids.push((await producer.enqueue(newPayload("200002", { status: "available" }))).jobId)

    const found: number[] = []
    while (await asides.mayTake()) {
      const first = await client.rpop(queueKey(name, "wait"))
      found.push(ids.indexOf(first!))
    }
    expect(found.toSorted()).toEqual(taken)
    // The others are where they were.
    const rest = await client.zrange(queueKey(name, "prioritized"), 0, "-1")
    expect(rest).toEqual(ids.filter((_, index) => !found.includes(index)))
  },
)

test("a worker that stands aside, and whose bulk slots are full, takes only live jobs of the other projects", async () => {
  const { client, name, producer } = queue
  const asides = createAsides({ connection: client, queue: name, now: () => 0 })
  asides.failed("100001:source", failure(MOST_STRIKES))
  const ids: string[] = []
  for (const [projectId, lane] of [
    ["200002", "bulk"],
    ["100001", undefined],
    ["200002", undefined],
    ["200002", "bulk"],
  ] as const)
    ids.push((await producer.enqueue(newPayload(projectId, lane && { lane }))).jobId)
  expect(await asides.mayTake(true)).toBe(true)
  expect(await client.rpop(queueKey(name, "wait"))).toBe(ids[2])
  await client.del(queueKey(name, "marker"), queueKey(name, "marker:live"))
  expect(await asides.mayTake(true)).toBe(false)
  // Other workers are woken for both lanes.
  expect(await client.exists(queueKey(name, "marker"), queueKey(name, "marker:live"))).toBe(2)
  expect(await asides.mayTake(false)).toBe(true)
  expect(await client.rpop(queueKey(name, "wait"))).toBe(ids[0])
})
