/** Consumers on a queue of the test's own, closed when it ends. */

import { Queue } from "bullmq"
import { afterEach, expect } from "vitest"
import { queueKey, queuePrefix } from "../../packages/queue/src/names.ts"
import {
  type Consumer,
  type ConsumerOptions,
  createConsumer,
  type EndedRun,
} from "../../packages/queue/src/run/consumer.ts"
import type { RunResult } from "../../packages/queue/src/run/ending.ts"
import { newPayload, useQueue } from "./queue.ts"

export const current = useQueue("consumer")
export const ends: (() => Promise<unknown> | unknown)[] = []

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

export const enqueue = async (one = newPayload()) => (await current.producer.enqueue(one)).jobId

type Options = Partial<ConsumerOptions<RunResult>> & Pick<ConsumerOptions<RunResult>, "run">

export function consume(options: Options): Consumer & { ended: EndedRun<RunResult>[] } {
  const ended: EndedRun<RunResult>[] = []
  const consumer = createConsumer({
    connection: current.client,
    queue: current.name,
    concurrency: 4,
    lockMs: 3_000,
    stallCheckMs: 300,
    observe: { ended: (run) => ended.push(run) },
    ...options,
  })
  ends.push(() => consumer.close())
  return Object.assign(consumer, { ended })
}

export const field = (jobId: string, name: string) => current.client.hget(queueKey(current.name, jobId), name)

export async function stateOf(jobId: string): Promise<string> {
  const view = new Queue(current.name, { connection: current.client, prefix: queuePrefix(current.name) })
  const state = await view.getJobState(jobId)
  await view.close()
  return state
}

export const until = (state: string, jobId: string) =>
  expect.poll(() => stateOf(jobId), { timeout: 30_000, interval: 50 }).toBe(state)
