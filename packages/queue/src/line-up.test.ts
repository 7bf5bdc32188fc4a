import { randomUUID } from "node:crypto"
import type { Redis } from "ioredis"
import { expect, test } from "vitest"
import { useQueue } from "../../../test/harness/queue.ts"
import { readAccounts } from "./accounting.ts"
import { createJobPayload } from "./job.ts"
import { queueKey } from "./names.ts"

const current = useQueue("line-up")

const callback = () =>
  createJobPayload({
    ...{ projectId: "100001", archiveId: randomUUID(), encryptedPassword: "d3JhcHBlZA==" },
    ...{ status: "uploaded", receivedAt: new Date().toISOString(), nonce: randomUUID() },
  })

const isOurs = (name: string): boolean => name.startsWith("unseal")
const isTheirs = (name: string): boolean => !isOurs(name)

/** Leaves Redis with those scripts of `connection` whose name `isKept`: a client sends one only when it is missed. */
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
