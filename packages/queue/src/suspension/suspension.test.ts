/** One project's suspension, from its first failure to the last archive that it held. */
import { setTimeout as sleep } from "node:timers/promises"
import { type Side, UnsealError } from "@unseal/archive/errors"
import { expect } from "vitest"
import { fails, SICK, test, WELL } from "../../../../test/harness/suspensions.ts"
import { heldKey, turnsKey } from "../names.ts"
import { listSuspensions, resumeSuspended } from "./state.ts"

test.concurrent("a project whose store denies everything is suspended: no attempt, no dead letter, and others go on", async ({
  rig: { client, queue, enqueue, consume, completed, accounts, field, poll },
}) => {
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
  await accounts()
  // New ones are set aside as they arrive.
  const later = await enqueue(SICK, 3)
  await poll(() => client.zcard(heldKey(queue, `${SICK}:source`))).toBe(33)
  const [suspension] = await listSuspensions(client, queue)
  expect(suspension!.reason).toBe("ERR_STORE_DENIED: as the test wants")
  down = false
  await poll(async () => (await completed()).length).toBe(63)
  expect(await accounts()).toMatchObject({ accepted: 63, committed: 63, deadLetters: 0, live: 0 })
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

test.concurrent("the next probe is another archive, so that one denied archive does not hold the others back", async ({
  rig: { enqueue, consume, completed, accounts, field, poll },
}) => {
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
  await poll(accounts).toMatchObject({ live: 0, deadLetters: 1 })
  expect((await completed()).filter((id) => good.includes(id))).toHaveLength(20)
  expect(consumer.ended.filter(({ ending }) => ending.kind === "suspended").length).toBeGreaterThanOrEqual(2)
}, 60_000)

test.concurrent("a project's only archive is held, however often it is denied: nothing shows that it is at fault", async ({
  rig: { enqueue, consume, completed, accounts, poll },
}) => {
  let down = true
  const consumer = consume(async () => {
    if (down) throw fails("ERR_STORE_DENIED", "source")
    return {}
  })
  await enqueue(SICK, 1)
  await poll(() => consumer.ended.length).toBeGreaterThanOrEqual(5)
  expect(await accounts()).toMatchObject({ live: 1, deadLetters: 0 })
  down = false
  await poll(async () => (await completed()).length).toBe(1)
}, 60_000)

test.concurrent("the vendor's trouble holds back only what needs the vendor", async ({
  rig: { client, queue, enqueue, consume, completed, poll },
}) => {
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

test.concurrent("success on a side ends its suspension, even in a run that fails by its own fault", async ({
  rig: { client, queue, enqueue, consume, accounts, poll },
}) => {
  let down = true
  consume(async (_, { worked }) => {
    if (down) throw fails("ERR_STORE_DENIED", "source")
    worked("source")
    throw new UnsealError("ERR_NOT_MPEG_TS", "3 of 752 sync bytes match")
  })
  await enqueue(SICK, 5)
  await poll(async () => (await listSuspensions(client, queue))[0]?.held).toBe(5)
  down = false
  await poll(async () => (await accounts()).deadLetters).toBe(5)
  expect(await listSuspensions(client, queue)).toEqual([])
})

test.concurrent("a probe without a result passes on to the next", async ({
  rig: { client, queue, enqueue, consume, completed, accounts, poll },
}) => {
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
  expect(await accounts()).toMatchObject({ committed: 4, deadLetters: 1, live: 0 })
})

test.concurrent("can be resumed by hand, one project and one side at a time", async ({
  rig: { client, queue, enqueue, consume, completed, poll },
}) => {
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

test.concurrent("an archive that was held as long as allowed is a dead letter that says so", async ({
  rig: { client, queue, enqueue, consume, accounts, field, poll },
}) => {
  consume(
    async () => {
      throw fails("ERR_STORE_UNAVAILABLE", "source")
    },
    { suspendMaxMs: 3_000 },
  )
  const jobs = await enqueue(SICK, 5)
  await poll(async () => (await accounts()).deadLetters).toBe(5)
  for (const jobId of jobs)
    expect(await field(jobId, "failedReason")).toMatch(
      /^ERR_STORE_UNAVAILABLE: held back for .* h by the deployment's trouble/,
    )
  await poll(() => listSuspensions(client, queue)).toEqual([])
})

test.concurrent("two sides at once are two suspensions, and what one releases the other keeps", async ({
  rig: { client, queue, enqueue, consume, completed, accounts, poll },
}) => {
  const down = new Set<Side>(["source", "destination"])
  let turn = 0
  consume(async () => {
    const side = turn++ % 2 === 0 ? "source" : "destination"
    if (down.has(side)) throw fails("ERR_STORE_DENIED", side)
    return {}
  })
  await enqueue(SICK, 50)
  await poll(async () => (await listSuspensions(client, queue)).length).toBe(2)
  await accounts()
  down.clear()
  await poll(async () => (await completed()).length).toBe(50)
  expect(await accounts()).toMatchObject({ committed: 50, live: 0 })
})

test.concurrent("held jobs keep their order, and continue, although turns were moved back meanwhile", async ({
  rig: { client, queue, enqueue, consume, accounts, poll },
}) => {
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
  // The last one has run, but may not have ended.
  await poll(accounts).toMatchObject({ committed: 25, live: 0 })
})
