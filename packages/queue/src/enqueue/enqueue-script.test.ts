import { randomUUID } from "node:crypto"
import type { Redis } from "ioredis"
import { expect, test } from "vitest"
import { useQueue } from "../../../../test/harness/queue.ts"
import { readAccounts } from "../accounting.ts"
import { createJobPayload } from "../jobs/job.ts"
import { queueKey } from "../names.ts"
import { createProducer } from "./producer.ts"

const current = useQueue("enqueue")

const callback = (fields: { projectId?: string; size?: number } = {}) =>
  createJobPayload({
    ...{ projectId: "100001", archiveId: randomUUID(), encryptedPassword: "d3JhcHBlZA==" },
    ...{ status: "uploaded", receivedAt: new Date().toISOString(), nonce: randomUUID() },
    ...fields,
  })

const isOurs = (name: string): boolean => name.startsWith("unseal")
const isTheirs = (name: string): boolean => !isOurs(name)

/**
 * Removes from Redis all scripts of `connection` except those that `isKept` accepts by name. A client sends one only when it is
 * missed.
 */
async function forgetScripts(connection: Redis, isKept: (name: string) => boolean): Promise<number> {
  await connection.script("FLUSH")
  const kept = Object.entries<{ lua: string }>(connection.scriptsSet).filter(([name]) => isKept(name))
  for (const [, { lua }] of kept) await connection.script("LOAD", lua)
  return kept.length
}

test.each([
  ["all scripts", () => false, 0],
  ["BullMQ's scripts, and not ours", isOurs, 1],
  ["our script, and not BullMQ's", isTheirs, 30],
])("a Redis that has forgotten %s takes the job whole", async (_, isKept, atLeast) => {
  await current.producer.enqueue(callback())
  expect(await forgetScripts(current.client, isKept)).toBeGreaterThanOrEqual(atLeast)

  const payload = callback()
  const { outcome, jobId } = await current.producer.enqueue(payload)
  expect(outcome).toBe("enqueued")
  const stored = await current.client.hget(queueKey(current.name, jobId), "data")
  expect(JSON.parse(stored ?? "null")).toEqual(payload)
  expect(await readAccounts(current.client, current.name)).toMatchObject({ accepted: 2, live: 2, missing: 0 })
  expect(await current.producer.enqueue(payload)).toEqual({ outcome: "enqueued", jobId })
  expect((await current.producer.enqueue({ ...payload, nonce: randomUUID() })).outcome).toBe("duplicate")
})

test("jobs that arrive together get the same start tags as one after the other", async () => {
  const GIB = 2 ** 30
  const [A, B, C] = ["100001", "200002", "300003"]
  const lines: (readonly string[])[] = []
  for (const together of [false, true]) {
    const queue = `${current.name}-${together}`
    const producer = createProducer({ connection: current.client, queue, deadlineMs: 30_000 })
    try {
      for (let count = 0; count < 10; count++)
        await producer.enqueue(callback({ projectId: A, size: 10 * GIB }))
      // Half of them have begun, so virtual time is that of the next one, and not of the very first.
      await current.client.zremrangebyrank(queueKey(queue, "prioritized"), 0, 4)
      const jobs = [B, C, B, A, C].map((projectId, index) => callback({ projectId, size: (index + 1) * GIB }))
      if (together) await Promise.all([...jobs, jobs[0]!, jobs[3]!].map((job) => producer.enqueue(job)))
      else for (const job of jobs) await producer.enqueue(job)
      const line = await current.client.zrange(queueKey(queue, "prioritized"), 0, "-1", "WITHSCORES")
      const priorities = await Promise.all(
        line
          .filter((_, index) => index % 2 === 0)
          .map((jobId) => current.client.hget(queueKey(queue, jobId), "priority")),
      )
      const turns = line.filter((_, index) => index % 2 === 1).map((score) => Number(score) / 2 ** 32)
      expect(priorities).toEqual(turns.map((turn) => String(Math.floor(turn))))
      lines.push(
        line.map((entry, index) => (index % 2 === 0 ? entry.split("_")[0]! : String(turns[(index - 1) / 2]))),
      )
      expect(await readAccounts(current.client, queue)).toMatchObject({ accepted: 15, live: 10 })
    } finally {
      await producer.close()
    }
  }
  expect(lines[1]).toEqual(lines[0])
})
