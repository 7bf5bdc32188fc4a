import { randomUUID } from "node:crypto"
import { Queue } from "bullmq"
import { afterEach, expect, test } from "vitest"
import { useQueue } from "../../../test/harness/queue.ts"
import { readAccounts } from "./accounting.ts"
import { createJobPayload } from "./jobs/job.ts"
import { queuePrefix } from "./names.ts"
import { pauseQueue, readPause, resumeQueue } from "./pause.ts"
import { type Consumer, createConsumer } from "./run/consumer.ts"

const current = useQueue("pause")
let consumer: Consumer | undefined
afterEach(async () => {
  await consumer?.close()
  consumer = undefined
})

async function enqueue(count: number): Promise<void> {
  for (let number = 0; number < count; number++) {
    const { outcome } = await current.producer.enqueue(
      createJobPayload({
        ...{ projectId: "100001", archiveId: randomUUID(), encryptedPassword: "d3JhcHBlZA==" },
        ...{ status: "uploaded", receivedAt: new Date().toISOString(), nonce: randomUUID() },
      }),
    )
    expect(outcome).toBe("enqueued")
  }
}
function consume(run: (starts: number) => Promise<object> = async () => ({})): Consumer {
  consumer = createConsumer({
    ...{ connection: current.client, queue: current.name, concurrency: 2, stallCheckMs: 300 },
    run: ((_: unknown, { starts }: { starts: number }) => run(starts)) as never,
    observe: { ended: () => {} },
  })
  return consumer
}
const accounts = () => readAccounts(current.client, current.name)
const pause = () => pauseQueue(current.client, current.name)
const resume = () => resumeQueue(current.client, current.name)
const SOON = { timeout: 20_000, interval: 50 }

test("a paused queue begins nothing, finishes running jobs, accepts new ones, and continues where it was", async () => {
  const running = Promise.withResolvers<object>()
  let runs = 0
  const { client, name } = current
  consume(() => {
    runs++
    return running.promise
  })
  await enqueue(3)
  await expect.poll(() => runs, SOON).toBe(2)
  const { since } = await pause()
  expect(Math.abs(Date.now() - Date.parse(since!))).toBeLessThan(60_000)
  expect(await pause()).toEqual({ since })
  expect(await readPause(client, name)).toEqual({ since })
  await enqueue(2)
  running.resolve({})
  await expect.poll(accounts, SOON).toMatchObject({ accepted: 5, committed: 2, live: 3, missing: 0 })

  // It still polls: a waiting worker is healthy.
  const askedAt = consumer!.lastProgressAt
  await expect.poll(() => consumer!.lastProgressAt, SOON).toBeGreaterThan(askedAt)
  expect([runs, consumer!.active]).toEqual([2, 0])

  expect(await resume()).toEqual({ since })
  expect(await resume()).toBeNull()
  expect(await readPause(client, name)).toBeNull()
  await expect.poll(accounts, SOON).toMatchObject({ accepted: 5, committed: 5, live: 0, missing: 0 })
})

test("starting workers, and jobs that are handed back or due again, wait for the end of a pause", async () => {
  await enqueue(1)
  consume(() => new Promise(() => {}))
  await expect.poll(() => consumer!.active, SOON).toBe(1)
  await pause()
  await consumer!.close()
  let runs = 0
  consume(async () => ({ runs: ++runs }))
  const askedAt = consumer!.lastProgressAt
  await expect.poll(() => consumer!.lastProgressAt, SOON).toBeGreaterThan(askedAt)
  await enqueue(1)
  expect(await accounts()).toMatchObject({ accepted: 2, live: 2, missing: 0 })
  expect(runs).toBe(0)
  await resume()
  await expect.poll(accounts, SOON).toMatchObject({ committed: 2, live: 0, missing: 0 })
})

test("another tool's pause is seen and can be ended, but its beginning is unknown", async () => {
  const { client: connection, name } = current
  await pause()
  await resume()
  const tool = new Queue(name, { connection, prefix: queuePrefix(name), skipVersionCheck: true })
  await tool.pause()
  await tool.close()
  expect(await readPause(connection, name)).toEqual({ since: null })
  expect(await pause()).toEqual({ since: null })
  expect(await resume()).toEqual({ since: null })
  expect(await readPause(connection, name)).toBeNull()
})
