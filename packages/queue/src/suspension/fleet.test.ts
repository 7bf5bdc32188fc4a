/** Several workers and one suspension: who probes, who is believed, and who is at fault. */
import { setTimeout as sleep } from "node:timers/promises"
import { untilAborted } from "@unseal/archive/waiting"
import { expect } from "vitest"
import {
  fails,
  type Run,
  SICK,
  type SuspensionRig,
  test,
  type Watched,
  WELL,
} from "../../../../test/harness/suspensions.ts"
import { heldKey, queueKey, suspensionsKey } from "../names.ts"
import { END } from "./scripts.ts"
import { listSuspensions, runScript } from "./state.ts"

test.concurrent("a fleet probes once per interval, which grows", async ({
  rig: { client, queue, enqueue, consume, poll },
}) => {
  const probes: number[] = []
  const run: Run = async () => {
    probes.push(performance.now())
    throw fails("ERR_STORE_UNAVAILABLE", "source")
  }
  for (let each = 0; each < 3; each++) consume(run, { concurrency: 2 })
  await enqueue(SICK, 100)
  await poll(() => client.zcard(heldKey(queue, `${SICK}:source`))).toBe(100)
  const begin = probes.length
  await poll(() => probes.length - begin).toBeGreaterThanOrEqual(7)
  const gaps = probes.slice(begin, begin + 7).map((at, index, all) => at - (all[index - 1] ?? at))
  // 200, 400, 800, 800, … ± 25 %.
  for (const gap of gaps.slice(-3)) expect(gap).toBeGreaterThan(550)
}, 60_000)

test.concurrent("a worker that is itself broken uses up no attempt, stands aside after two suspensions, and returns once it is fixed", async ({
  rig: { enqueue, consume, completed, accounts, field, poll },
}) => {
  // As if its keys had never been mounted.
  let isBroken = true
  const broken = consume(
    async ({ projectId }) => {
      if (isBroken && projectId === SICK) throw fails("ERR_KEY_SERVICE_UNAVAILABLE", "keys")
      await sleep(10)
      return {}
    },
    { asides: { firstMs: 200, mostMs: 400 } },
  )
  const healthy = consume(
    async () => {
      await sleep(30)
      return {}
    },
    { concurrency: 2 },
  )
  let archives = (await enqueue(SICK, 40)).length
  /** Enqueues more until `isSo`, but no more than are worked off meanwhile. */
  const feedUntil = async (isSo: () => boolean, counts: Readonly<Record<string, number>>) => {
    const signal = AbortSignal.timeout(120_000)
    for (; !isSo(); await sleep(50, undefined, { signal })) {
      if ((await accounts()).live >= 40) continue
      for (const [projectId, count] of Object.entries(counts))
        archives += (await enqueue(projectId, count)).length
    }
  }
  await feedUntil(() => broken.asides().length > 0, { [SICK]: 1 })
  expect(broken.asides()).toEqual([{ projectId: SICK, side: "keys", code: "ERR_KEY_SERVICE_UNAVAILABLE" }])
  await poll(async () => (await completed()).length).toBe(archives)
  const told = () => [...broken.lines, ...healthy.lines].map(({ message }) => message)
  const suspensions = () => told().filter((message) => message.startsWith("project suspended")).length
  expect(suspensions()).toBeLessThanOrEqual(3)
  const before = suspensions()

  // It works for others, even past archives that are not for it, and delays none.
  const done = (consumer: Watched, projectId: string) =>
    consumer.ended.filter(
      ({ payload, ending }) => payload?.projectId === projectId && ending.kind === "committed",
    )
  await feedUntil(() => done(broken, WELL).length > 0, { [SICK]: 20, [WELL]: 20 })
  await poll(async () => (await completed()).length).toBe(archives)
  expect(done(broken, SICK)).toEqual([])
  expect(suspensions()).toBe(before)
  expect(healthy.asides()).toEqual([])

  isBroken = false
  await feedUntil(() => done(broken, SICK).length > 0, { [SICK]: 1 })
  expect(broken.asides()).toEqual([])
  await poll(async () => (await completed()).length).toBe(archives)
  expect(await accounts()).toMatchObject({ deadLetters: 0, live: 0 })
  for (const jobId of await completed()) expect(await field(jobId, "atm")).toBe("1")
  const ofAsides = broken.lines.filter(({ message }) => message.startsWith("this worker"))
  expect(ofAsides).toMatchObject([
    {
      level: "warn",
      fields: { projectId: SICK, side: "keys", reason: "ERR_KEY_SERVICE_UNAVAILABLE: as the test wants" },
    },
    { level: "info", fields: { projectId: SICK, side: "keys", seconds: expect.any(Number) } },
  ])
}, 300_000)

test.concurrent("a job that three workers fail at, while others succeed each time, is itself at fault", async ({
  rig: { client, queue, enqueue, consume, poll },
}) => {
  const fleet = Array.from({ length: 3 }, () =>
    consume(async () => {
      throw fails("ERR_STORE_DENIED", "source")
    }),
  )
  await enqueue(SICK, 1)
  const failed = () => fleet.map(({ ended }) => ended.length)
  const sum = () => failed().reduce((a, b) => a + b)
  const deadLetters = () => client.zcard(queueKey(queue, "failed"))
  for (let failures = 1; (await deadLetters()) === 0; failures++) {
    await poll(sum).toBeGreaterThanOrEqual(failures)
    await poll(async () => {
      const ended = await runScript(client, queue, END, { name: `${SICK}:source`, agoMs: 0 })
      return ended !== null || (await deadLetters()) > 0
    }).toBe(true)
    expect(failures).toBeLessThan(40)
  }
  expect(failed().every((count) => count > 0)).toBe(true)
}, 90_000)

test.concurrent("after that, a job that fails alone for a passing reason uses its attempts", async ({
  rig: { enqueue, consume, field, poll, defer },
}) => {
  const [bad] = await enqueue(SICK, 1)
  let failures = 0
  const consumer = consume(
    async (_, { jobId }) => {
      await sleep(20)
      if (jobId !== bad) return {}
      failures++
      throw fails("ERR_STORE_UNAVAILABLE", "source")
    },
    { attempts: 1, concurrency: 2 },
  )
  const feeding = setInterval(() => void enqueue(SICK, 1), 100)
  defer(() => clearInterval(feeding))
  await poll(() => field(bad!, "failedReason")).toBe("ERR_STORE_UNAVAILABLE: as the test wants")
  clearInterval(feeding)
  expect(failures).toBeGreaterThanOrEqual(3)
  expect(await field(bad!, "atm")).toBe("1")
  const kinds = consumer.ended.filter(({ jobId }) => jobId === bad).map(({ ending }) => ending.kind)
  // In between it may be taken and set aside without a run.
  expect(kinds.filter((kind) => kind !== "held").slice(0, 2)).toEqual(["suspended", "suspended"])
  expect(kinds.at(-1)).toBe("dead-letter")
}, 60_000)

test.concurrent("runs that wait for a side which another worker found to be away give up their slots; those that progress stay", async ({
  rig: { client, queue, enqueue, consume, completed, field, poll },
}) => {
  const begun: string[] = []
  const never = new Promise<never>(() => {})
  const kinds = ["source", "source", "destination", "moves"] as const
  const slow = consume(
    async ({ projectId }, { jobId, signal, waits }) => {
      if (projectId === WELL) return {}
      const kind = kinds[begun.push(jobId) - 1]
      if (kind === undefined) throw fails("ERR_STORE_UNAVAILABLE", "source")
      const timer = setInterval(() => kind !== "moves" && waits(kind), 20)
      return await untilAborted(never, signal).finally(() => clearInterval(timer))
    },
    { lockMs: 60_000 },
  )
  await enqueue(SICK, 4)
  await poll(() => begun.length).toBe(4)
  const other = consume(
    async () => {
      throw fails("ERR_STORE_UNAVAILABLE", "source")
    },
    { concurrency: 1 },
  )
  await enqueue(SICK, 1)
  await poll(() => other.ended.length).toBeGreaterThanOrEqual(1)
  await other.close()
  const well = await enqueue(WELL, 10)
  await poll(async () => (await completed()).sort()).toEqual(well.sort())
  const held = slow.ended.filter(({ jobId }) => begun.slice(0, 4).includes(jobId))
  // One of them may be the probe meanwhile, and be held again.
  expect(new Set(held.map(({ jobId }) => jobId))).toEqual(new Set(begun.slice(0, 2)))
  expect(held.filter(({ ending: { kind } }) => !["held", "suspended"].includes(kind))).toEqual([])
  expect(held.filter(({ jobId }) => jobId === begun[2] || jobId === begun[3])).toEqual([])
  expect(await listSuspensions(client, queue)).toMatchObject([
    { projectId: SICK, side: "source", reason: "ERR_STORE_UNAVAILABLE: as the test wants" },
  ])
  for (const jobId of begun) expect(await field(jobId, "atm")).toBe(null)
})

test.concurrent("a run that gave way to a suspension which has ended meanwhile continues at once, without an attempt", async ({
  rig: { client, queue, enqueue, consume, completed, field, poll },
}) => {
  let isFirst = true
  const consumer = consume(async (_, { signal, waits }) => {
    if (!isFirst) return {}
    isFirst = false
    // Another worker's suspension, which ends before this worker has told Redis that its run gave way.
    const name = `${SICK}:source`
    const state = { since: Date.now(), code: "ERR_STORE_DENIED", reason: "", remedy: "", probes: 0 }
    await client.hset(
      suspensionsKey(queue),
      name,
      JSON.stringify({
        ...state,
        intervalMs: 1,
        maxMs: 600_000,
        probe: "other",
        nextProbeAt: Date.now() + 600_000,
      }),
    )
    while (!signal.aborted) {
      waits("source")
      await sleep(20)
    }
    await client.hdel(suspensionsKey(queue), name)
    throw signal.reason
  })
  const [jobId] = await enqueue(SICK, 1)
  await poll(completed).toEqual([jobId])
  expect(consumer.ended.map(({ ending: { kind } }) => kind)).toEqual(["handed-back", "committed"])
  expect(await field(jobId!, "atm")).toBe("1")
})

test.concurrent("a worker killed during a probe leaves no suspension that nobody ends", async ({
  rig: { client, queue, enqueue, consume, completed, accounts, poll },
}) => {
  let down = true
  const run: Run = async () => {
    if (down) throw fails("ERR_STORE_DENIED", "source")
    return {}
  }
  consume(run)
  await enqueue(SICK, 5)
  await poll(async () => (await listSuspensions(client, queue))[0]?.held).toBe(5)
  // As after a crash: active, with an expiring lock.
  const probe = await stealProbe({ client, queue, poll })
  await client.lpush(queueKey(queue, "active"), probe)
  down = false
  await poll(async () => (await completed()).length).toBe(5)
  expect(await accounts()).toMatchObject({ committed: 5, live: 0, deadLetters: 0 })
})

test.concurrent("a slow probe ends the suspension as soon as the side works, not when the run is done", async ({
  rig: { client, queue, enqueue, consume, completed, poll, defer },
}) => {
  let down = true
  let goOn = () => {}
  const done = new Promise<void>((resolve) => {
    goOn = resolve
  })
  defer(goOn)
  let probe: string | undefined
  consume(async (_, { jobId, worked }) => {
    if (down) throw fails("ERR_STORE_UNAVAILABLE", "source")
    probe ??= jobId
    worked("source")
    if (jobId === probe) await done
    return {}
  })
  await enqueue(SICK, 10)
  await poll(async () => (await listSuspensions(client, queue))[0]?.held).toBe(10)
  down = false
  await poll(async () => (await completed()).length).toBe(9)
  goOn()
  await poll(async () => (await completed()).length).toBe(10)
})

test.concurrent("an answer to a request older than the suspension does not end it", async ({
  rig: { enqueue, consume, poll },
}) => {
  const consumer = consume(
    async (_, { worked }) => {
      worked("source", Date.now() - 60_000)
      throw fails("ERR_STORE_UNAVAILABLE", "source")
    },
    { suspension: { firstMs: 300, mostMs: 300 } },
  )
  await enqueue(SICK, 3)
  await poll(() => consumer.ended.length).toBeGreaterThanOrEqual(6)
  const told = consumer.lines.filter(({ message }) => message.includes("suspen"))
  expect(told.map(({ level }) => level)).toEqual(["warn"])
})

test.concurrent("a probe that another worker finished without a report is replaced within seconds", async ({
  rig: { client, queue, enqueue, consume, completed, poll },
}) => {
  let down = true
  consume(async () => {
    if (down) throw fails("ERR_STORE_DENIED", "source")
    return {}
  })
  await enqueue(SICK, 5)
  await poll(async () => (await listSuspensions(client, queue))[0]?.held).toBe(5)
  await stealProbe({ client, queue, poll })
  down = false
  await poll(async () => (await completed()).length).toBe(4)
})

/** Takes the probe out of the delayed jobs, once there is one that is not running. Resolves to its id. */
async function stealProbe({
  client,
  queue,
  poll,
}: Pick<SuspensionRig, "client" | "queue" | "poll">): Promise<string> {
  let probe = ""
  const steal = async () => {
    const state = JSON.parse((await client.hget(`{${queue}}:suspensions`, `${SICK}:source`)) ?? "{}")
    probe = (state as { probe?: string }).probe ?? ""
    return client.zrem(queueKey(queue, "delayed"), probe)
  }
  await poll(steal).toBe(1)
  return probe
}
