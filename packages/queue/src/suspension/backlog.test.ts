import { setTimeout as sleep } from "node:timers/promises"
import type { Redis } from "ioredis"
import { expect } from "vitest"
import { fails, SICK, test, WELL } from "../../../../test/harness/suspensions.ts"
import { heldKey } from "../names.ts"
import { queueStatus } from "../status.ts"
import { resumeSuspended } from "./state.ts"

test("ten thousand held archives cost next to nothing, and continue in their old order, in turn with others", async ({
  rig: { client, queue, enqueue, consume, accounts, poll },
}) => {
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
  await accounts()
  const before = await countCommands(client)
  await sleep(5_000)
  const perSecond = ((await countCommands(client)) - before) / 5
  console.info(`${perSecond.toFixed(1)} commands a second with 10,000 held archives`)
  expect(perSecond).toBeLessThan(100)
  await accounts()

  down = false
  await resumeSuspended(client, queue, { projectId: SICK })
  await poll(() => order.length > 500).toBe(true)
  const well = await enqueue(WELL, 20)
  await poll(async () => (await queueStatus(client, queue)).jobs.completed, 200_000).toBe(10_020)
  expect(await accounts()).toMatchObject({ accepted: 10_020, committed: 10_020, deadLetters: 0, live: 0 })
  // With four at once, and the probe at the head, an archive begins no more than a few places from its own.
  const begun = order.filter((id) => id.startsWith(SICK))
  const place = new Map(sick.map((id, index) => [id, index]))
  expect(Math.max(...begun.map((id, index) => Math.abs(place.get(id)! - index)))).toBeLessThan(10)
  const lastWell = Math.max(...well.map((id) => order.indexOf(id)))
  expect(lastWell).toBeLessThan(order.length - 1_000)
}, 400_000)

async function countCommands(client: Redis): Promise<number> {
  const info = await client.info("commandstats")
  return [...info.matchAll(/calls=(\d+)/g)].reduce((sum, [, calls]) => sum + Number(calls), 0)
}
