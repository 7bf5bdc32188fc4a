import { randomUUID } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { type ErrorCode, type Side, UnsealError } from "@unseal/archive/errors"
import { untilAborted } from "@unseal/archive/waiting"
import { Redis } from "ioredis"
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest"
import { type RedisServer, startRedis } from "../../../../test/harness/redis/redis.ts"
import { readAccounts } from "../accounting.ts"
import { createProducer } from "../enqueue/producer.ts"
import { createJobPayload, type JobPayload } from "../jobs/job.ts"
import { heldKey, queueKey, suspensionsKey, turnsKey } from "../names.ts"
import { type Consumer, type ConsumerOptions, createConsumer, type EndedRun } from "../run/consumer.ts"
import type { RunResult } from "../run/ending.ts"
import { queueStatus } from "../status.ts"
import { END } from "./scripts.ts"
import { listSuspensions, resumeSuspended, runScript } from "./state.ts"

let redis: RedisServer
let client: Redis
let queue: string
let ends: (() => Promise<unknown> | unknown)[]

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.close())
beforeEach(() => {
  queue = `suspension-${randomUUID().slice(0, 8)}`
  client = new Redis(redis.url)
  ends = [() => client.disconnect()]
})
afterEach(async () => {
  for (const end of ends.reverse()) await end()
})

const SICK = "100001"
const WELL = "200002"

async function enqueue(
  projectId: string,
  count: number,
  fields: Partial<JobPayload> = {},
): Promise<string[]> {
  const producer = createProducer({ connection: client, queue, deadlineMs: 60_000, pendingLimit: 100_000 })
  const jobs = await Promise.all(
    Array.from({ length: count }, () =>
      producer.enqueue(
        createJobPayload({
          ...{ projectId, archiveId: randomUUID(), encryptedPassword: "d3JhcHBlZA==", status: "uploaded" },
          ...{ receivedAt: new Date().toISOString(), nonce: randomUUID() },
          ...fields,
        }),
      ),
    ),
  )
  await producer.close()
  return jobs.map(({ jobId }) => jobId)
}

type Run = ConsumerOptions<RunResult>["run"]
interface Watched extends Consumer {
  readonly ended: EndedRun<RunResult>[]
  readonly lines: { level: string; message: string; fields: Record<string, unknown> }[]
}

function consume(run: Run, options: Partial<ConsumerOptions<RunResult>> = {}): Watched {
  const ended: EndedRun<RunResult>[] = []
  const lines: Watched["lines"] = []
  const line = (level: string) => (fields: object, message: string) =>
    void lines.push({ level, message, fields: fields as Record<string, unknown> })
  const consumer = createConsumer({
    connection: client,
    queue,
    concurrency: 4,
    lockMs: 10_000,
    stallCheckMs: 1_000,
    suspension: { firstMs: 200, mostMs: 800 },
    logger: { info: line("info"), warn: line("warn"), error: line("error") },
    observe: { ended: (run) => ended.push(run) },
    async run(payload, context) {
      const since = Date.now()
      const result = await run(payload, context)
      // A run that succeeds has used its keys and both stores.
      for (const side of ["source", "destination", "keys"] as const) context.worked(side, since)
      return result
    },
    ...options,
  })
  ends.push(() => consumer.close())
  return Object.assign(consumer, { ended, lines })
}

/** A run that fails with `code` on `side` as long as `isDown` says so. */
const fails = (code: ErrorCode, side: Side) => {
  const error = new UnsealError(code, "as the test wants")
  error.side = side
  return error
}

const completed = () => client.zrange(queueKey(queue, "completed"), 0, "-1")
const books = async () => {
  const accounts = await readAccounts(client, queue)
  expect(accounts.missing).toBe(0)
  return accounts
}
const field = (jobId: string, name: string) => client.hget(queueKey(queue, jobId), name)
const poll = <T>(ask: () => T | Promise<T>, timeout = 30_000) => expect.poll(ask, { timeout, interval: 50 })

test("a project whose store denies everything is suspended: no attempt, no dead letter, and others go on", async () => {
  let down = true
  const consumer = consume(async ({ projectId }) => {
    if (projectId === SICK && down) throw fails("ERR_STORE_DENIED", "source")
    return {}
  })
  const sick = await enqueue(SICK, 30)
  const well = await enqueue(WELL, 30)
  await poll(async () => (await completed()).length).toBe(30)
  expect((await completed()).sort()).toEqual(well.sort())
  await poll(() => listSuspensions(client, queue)).toMatchObject([
    { projectId: SICK, side: "source", code: "ERR_STORE_DENIED", held: 30 },
  ])
  await books()
  // New ones are set aside as they arrive.
  const later = await enqueue(SICK, 3)
  await poll(() => client.zcard(heldKey(queue, `${SICK}:source`))).toBe(33)
  const [suspension] = await listSuspensions(client, queue)
  expect(suspension!.reason).toBe("ERR_STORE_DENIED: as the test wants")
  down = false
  await poll(async () => (await completed()).length).toBe(63)
  expect(await books()).toMatchObject({ accepted: 63, committed: 63, deadLetters: 0, live: 0 })
  for (const jobId of [...sick, ...later]) expect(await field(jobId, "atm")).toBe("1")
  expect(await listSuspensions(client, queue)).toEqual([])
  expect(
    consumer.ended.filter(({ ending }) => ending.kind === "dead-letter" || ending.kind === "retry"),
  ).toEqual([])
  const told = consumer.lines.filter(({ message }) => message.includes("suspen"))
  expect(told.map(({ level }) => level)).toEqual(["warn", "info"])
  expect(told[0]!.fields).toMatchObject({ projectId: SICK, side: "source", code: "ERR_STORE_DENIED" })
  expect(told[1]!.fields.seconds).toBeGreaterThan(0)
})

test("ten thousand held archives cost next to nothing, and continue in their old order, in turn with others", async () => {
  let down = true
  const order: string[] = []
  consume(
    async ({ projectId }, { jobId }) => {
      if (projectId === SICK && down) throw fails("ERR_STORE_UNAVAILABLE", "destination")
      if (!down) order.push(jobId)
      return {}
    },
    { suspension: { firstMs: 1_000, mostMs: 60_000 } },
  )
  const sick = await enqueue(SICK, 10_000)
  await poll(() => client.zcard(heldKey(queue, `${SICK}:destination`)), 120_000).toBe(10_000)
  await books()
  const before = await commands()
  await sleep(5_000)
  const perSecond = ((await commands()) - before) / 5
  console.info(`${perSecond.toFixed(1)} commands a second with 10,000 held archives`)
  expect(perSecond).toBeLessThan(100)
  await books()

  down = false
  await resumeSuspended(client, queue, { projectId: SICK })
  await poll(() => order.length > 500).toBe(true)
  const well = await enqueue(WELL, 20)
  await poll(async () => (await queueStatus(client, queue)).jobs.completed, 200_000).toBe(10_020)
  expect(await books()).toMatchObject({ accepted: 10_020, committed: 10_020, deadLetters: 0, live: 0 })
  // With four at once, and the probe at the head, an archive begins no more than a few places from its own.
  const begun = order.filter((id) => id.startsWith(SICK))
  const place = new Map(sick.map((id, index) => [id, index]))
  expect(Math.max(...begun.map((id, index) => Math.abs(place.get(id)! - index)))).toBeLessThan(10)
  const lastWell = Math.max(...well.map((id) => order.indexOf(id)))
  expect(lastWell).toBeLessThan(order.length - 1_000)
}, 400_000)

async function commands(): Promise<number> {
  const info = await client.info("commandstats")
  return [...info.matchAll(/calls=(\d+)/g)].reduce((sum, [, calls]) => sum + Number(calls), 0)
}

test("a fleet probes once per interval, which grows", async () => {
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

test("the next probe is another archive, so that one denied archive does not hold the others back", async () => {
  const [bad] = await enqueue(SICK, 1)
  const good = await enqueue(SICK, 20)
  const consumer = consume(
    async (_, { jobId }) => {
      if (jobId === bad) throw fails("ERR_STORE_DENIED", "source")
      return {}
    },
    { concurrency: 1 },
  )
  await poll(async () => (await completed()).length).toBe(20)
  // Only if others succeed after each of its failures is the trouble its own.
  for (let round = 0; (await field(bad!, "failedReason")) === null; round++) {
    expect(round).toBeLessThan(20)
    await enqueue(SICK, 1)
    await sleep(500)
  }
  expect(await field(bad!, "failedReason")).toBe("ERR_STORE_DENIED: as the test wants")
  await poll(books).toMatchObject({ live: 0, deadLetters: 1 })
  expect((await completed()).filter((id) => good.includes(id))).toHaveLength(20)
  expect(consumer.ended.filter(({ ending }) => ending.kind === "suspended").length).toBeGreaterThanOrEqual(2)
}, 60_000)

test("a project's only archive is held, however often it is denied: nothing shows that it is at fault", async () => {
  let down = true
  const consumer = consume(async () => {
    if (down) throw fails("ERR_STORE_DENIED", "source")
    return {}
  })
  await enqueue(SICK, 1)
  await poll(() => consumer.ended.length).toBeGreaterThanOrEqual(5)
  expect(await books()).toMatchObject({ live: 1, deadLetters: 0 })
  down = false
  await poll(async () => (await completed()).length).toBe(1)
}, 60_000)

test("a worker that is itself broken uses up no attempt, stands aside after two suspensions, and returns once it is fixed", async () => {
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
      if ((await books()).live >= 40) continue
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
  expect(await books()).toMatchObject({ deadLetters: 0, live: 0 })
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

test("a job that three workers fail at, while others succeed each time, is itself at fault", async () => {
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

test("after that, a job that fails alone for a passing reason uses its attempts", async () => {
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
  ends.push(() => clearInterval(feeding))
  await poll(() => field(bad!, "failedReason")).toBe("ERR_STORE_UNAVAILABLE: as the test wants")
  clearInterval(feeding)
  expect(failures).toBeGreaterThanOrEqual(3)
  expect(await field(bad!, "atm")).toBe("1")
  const kinds = consumer.ended.filter(({ jobId }) => jobId === bad).map(({ ending }) => ending.kind)
  expect(kinds.slice(0, 2)).toEqual(["suspended", "suspended"])
  expect(kinds.at(-1)).toBe("dead-letter")
}, 60_000)

test("runs that wait for a side which another worker found to be away give up their slots; those that progress stay", async () => {
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

test("a run that gave way to a suspension which has ended meanwhile continues at once, without an attempt", async () => {
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

test("the vendor's trouble holds back only what needs the vendor", async () => {
  let down = true
  consume(async ({ status }, { worked }) => {
    if (status === "available") {
      if (down) throw fails("ERR_STORE_BUSY", "vendor")
      worked("vendor")
    }
    return {}
  })
  await enqueue(SICK, 20, { status: "available" })
  const uploaded = await enqueue(SICK, 20)
  await poll(async () => (await completed()).length).toBe(20)
  expect((await completed()).sort()).toEqual(uploaded.sort())
  await poll(() => client.zcard(heldKey(queue, `${SICK}:vendor`))).toBe(20)
  down = false
  await poll(async () => (await completed()).length).toBe(40)
})

test("success on a side ends its suspension, even in a run that fails by its own fault", async () => {
  let down = true
  consume(async (_, { worked }) => {
    if (down) throw fails("ERR_STORE_DENIED", "source")
    worked("source")
    throw new UnsealError("ERR_NOT_MPEG_TS", "3 of 752 sync bytes match")
  })
  await enqueue(SICK, 5)
  await poll(async () => (await listSuspensions(client, queue))[0]?.held).toBe(5)
  down = false
  await poll(async () => (await books()).deadLetters).toBe(5)
  expect(await listSuspensions(client, queue)).toEqual([])
})

test("a probe without a result passes on to the next", async () => {
  let down = true
  let first: string | undefined
  consume(async (_, { jobId }) => {
    if (down) throw fails("ERR_STORE_DENIED", "destination")
    first ??= jobId
    if (jobId === first) throw new UnsealError("ERR_NOT_MPEG_TS", "3 of 752 sync bytes match")
    return {}
  })
  await enqueue(SICK, 5)
  await poll(async () => (await listSuspensions(client, queue))[0]?.held).toBe(5)
  down = false
  await poll(async () => (await completed()).length).toBe(4)
  expect(await books()).toMatchObject({ committed: 4, deadLetters: 1, live: 0 })
})

test("can be resumed by hand, one project and one side at a time", async () => {
  const down = new Set([SICK, WELL])
  const consumer = consume(
    async ({ projectId }) => {
      if (down.has(projectId)) throw fails("ERR_STORE_DENIED", "source")
      return {}
    },
    { suspension: { firstMs: 60_000, mostMs: 60_000 } },
  )
  await enqueue(SICK, 10)
  await enqueue(WELL, 10)
  await poll(async () => (await listSuspensions(client, queue)).map(({ held }) => held)).toEqual([10, 10])
  down.clear()
  expect(await resumeSuspended(client, queue, { projectId: SICK, side: "vendor" })).toEqual([])
  expect(await resumeSuspended(client, queue, { projectId: SICK, side: "source" })).toMatchObject([
    { projectId: SICK, held: 10 },
  ])
  await poll(async () => (await completed()).length).toBe(10)
  expect(await listSuspensions(client, queue)).toMatchObject([{ projectId: WELL }])
  await resumeSuspended(client, queue, {})
  await poll(async () => (await completed()).length).toBe(20)
  expect(consumer.lines.filter(({ message }) => message.startsWith("suspension ended"))).toHaveLength(2)
})

test("an archive that was held as long as allowed is a dead letter that says so", async () => {
  consume(
    async () => {
      throw fails("ERR_STORE_UNAVAILABLE", "source")
    },
    { suspendMaxMs: 3_000 },
  )
  const jobs = await enqueue(SICK, 5)
  await poll(async () => (await books()).deadLetters).toBe(5)
  for (const jobId of jobs)
    expect(await field(jobId, "failedReason")).toMatch(
      /^ERR_STORE_UNAVAILABLE: held back for .* h by the deployment's trouble/,
    )
  await poll(() => listSuspensions(client, queue)).toEqual([])
})

test("two sides at once are two suspensions, and what one releases the other keeps", async () => {
  const down = new Set<Side>(["source", "destination"])
  let turn = 0
  consume(async () => {
    const side = turn++ % 2 === 0 ? "source" : "destination"
    if (down.has(side)) throw fails("ERR_STORE_DENIED", side)
    return {}
  })
  await enqueue(SICK, 50)
  await poll(async () => (await listSuspensions(client, queue)).length).toBe(2)
  await books()
  down.clear()
  await poll(async () => (await completed()).length).toBe(50)
  expect(await books()).toMatchObject({ committed: 50, live: 0 })
})

test("a worker killed during a probe leaves no suspension that nobody ends", async () => {
  let down = true
  const run: Run = async () => {
    if (down) throw fails("ERR_STORE_DENIED", "source")
    return {}
  }
  consume(run)
  await enqueue(SICK, 5)
  await poll(async () => (await listSuspensions(client, queue))[0]?.held).toBe(5)
  // As after a crash: active, with an expiring lock.
  const state = JSON.parse((await client.hget(`{${queue}}:suspensions`, `${SICK}:source`))!) as {
    probe: string
  }
  await client.zrem(queueKey(queue, "delayed"), state.probe)
  await client.lpush(queueKey(queue, "active"), state.probe)
  down = false
  await poll(async () => (await completed()).length).toBe(5)
  expect(await books()).toMatchObject({ committed: 5, live: 0, deadLetters: 0 })
})

test("a slow probe ends the suspension as soon as the side works, not when the run is done", async () => {
  let down = true
  let goOn = () => {}
  const done = new Promise<void>((resolve) => {
    goOn = resolve
  })
  ends.push(goOn)
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

test("an answer to a request older than the suspension does not end it", async () => {
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

test("a probe that another worker finished without a report is replaced within seconds", async () => {
  let down = true
  consume(async () => {
    if (down) throw fails("ERR_STORE_DENIED", "source")
    return {}
  })
  await enqueue(SICK, 5)
  await poll(async () => (await listSuspensions(client, queue))[0]?.held).toBe(5)
  const state = JSON.parse((await client.hget(`{${queue}}:suspensions`, `${SICK}:source`))!) as {
    probe: string
  }
  await client.zrem(queueKey(queue, "delayed"), state.probe)
  down = false
  await poll(async () => (await completed()).length).toBe(4)
})

test("held jobs keep their order, and continue, although turns were moved back meanwhile", async () => {
  let down = true
  const order: string[] = []
  consume(
    async (_, { jobId }) => {
      if (down) throw fails("ERR_STORE_DENIED", "source")
      order.push(jobId)
      return {}
    },
    { concurrency: 1 },
  )
  const early = await enqueue(SICK, 20)
  await poll(() => client.zcard(heldKey(queue, `${SICK}:source`))).toBe(20)
  // As fair-queue.ts leaves it: all turns are smaller by as much as `base` has grown.
  await client.hset(turnsKey(queue), { base: 1_000_000, clock: 0, end: 0, [SICK]: 0 })
  const late = await enqueue(SICK, 5)
  await poll(() => client.zcard(heldKey(queue, `${SICK}:source`))).toBe(25)
  expect((await client.zrange(heldKey(queue, `${SICK}:source`), 0, "-1")).slice(-5).sort()).toEqual(
    late.sort(),
  )
  down = false
  await poll(() => order.length).toBe(25)
  expect(order.slice(-5).sort()).toEqual(late.sort())
  expect(new Set(order)).toEqual(new Set([...early, ...late]))
  expect(await books()).toMatchObject({ committed: 25, live: 0 })
})
