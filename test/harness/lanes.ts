/** A queue with two lanes for each test of a file, and workers whose order of work is known. */

import type { JobPayload } from "@unseal/queue/jobs/job"
import { countersKey, queueKey, turnsKey } from "@unseal/queue/names"
import { type Consumer, type ConsumerOptions, createConsumer } from "@unseal/queue/run/consumer"
import type { RunResult } from "@unseal/queue/run/ending"
import { afterEach } from "vitest"
import { newPayload, useQueue } from "./queue.ts"

export const [A, B] = ["100001", "200002"] as const
/** The first priority of the bulk lane. */
export const BULK_FIRST = 2 ** 20
export const SOON = { timeout: 60_000, interval: 20 }

export const current = useQueue("lanes")
const consumers: Consumer[] = []
afterEach(async () => {
  for (const consumer of consumers.splice(0)) await consumer.close()
})

export const bulk = (projectId: string = A, fields: Partial<JobPayload> = {}) =>
  newPayload(projectId, { size: 1_000_000, lane: "bulk", ...fields })
export const live = (projectId: string = A, fields: Partial<JobPayload> = {}) =>
  newPayload(projectId, { size: 1_000_000, ...fields })

export async function enqueue(count: number, make: () => JobPayload): Promise<string[]> {
  const ids: string[] = []
  for (let left = count; left > 0; left -= 1_000) {
    const some = Array.from({ length: Math.min(left, 1_000) }, make)
    for (const { jobId } of await Promise.all(some.map((one) => current.producer.enqueue(one))))
      ids.push(jobId)
  }
  return ids
}

export const bullKey = (name: string) => queueKey(current.name, name)
export const field = (jobId: string, name: string) => current.client.hget(bullKey(jobId), name)
export const line = () => current.client.zrange(bullKey("prioritized"), 0, "-1")
export const creditOf = () => current.client.hget(`${turnsKey(current.name)}:bulk`, "credit")
export const bulkBytes = async () =>
  Number((await current.client.hget(countersKey(current.name), "bulkBytes")) ?? 0)

export interface Begun {
  readonly jobId: string
  readonly payload: JobPayload
}

type Options = Partial<ConsumerOptions<RunResult>>

export function consume(run: ConsumerOptions<RunResult>["run"], options: Options = {}): Consumer {
  const consumer = createConsumer<RunResult>({
    ...{ connection: current.client, queue: current.name, concurrency: 1, run },
    observe: { ended() {} },
    ...options,
  })
  consumers.push(consumer)
  return consumer
}

/** What one slot begins, in order, until there are `count`. Then the worker closes. `each` is called before a run ends. */
export async function begun(
  count: number,
  options: Options = {},
  each = async (_: Begun) => {},
): Promise<Begun[]> {
  const order: Begun[] = []
  let ended = 0
  const enough = Promise.withResolvers<void>()
  const consumer = consume(
    async (payload, { jobId, signal }) => {
      if (order.length === count)
        await new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
      order.push({ jobId, payload })
      await each(order.at(-1)!)
      return {}
    },
    {
      ...options,
      observe: {
        ended() {
          if (++ended === count) enough.resolve()
        },
      },
    },
  )
  await enough.promise
  await consumer.close()
  return order
}

export const lanesOf = (order: readonly Begun[]) => order.map(({ payload }) => payload.lane ?? "live")
