/** A queue with consumers for each test about suspensions. Such tests mostly wait, so they run side by side. */
import { randomUUID } from "node:crypto"
import { type ErrorCode, type Side, UnsealError } from "@unseal/archive/errors"
import { type Accounts, readAccounts } from "@unseal/queue/accounting"
import { createProducer } from "@unseal/queue/enqueue/producer"
import type { JobPayload } from "@unseal/queue/jobs/job"
import { queueKey } from "@unseal/queue/names"
import {
  type Consumer,
  type ConsumerOptions,
  createConsumer,
  type EndedRun,
} from "@unseal/queue/run/consumer"
import type { RunResult } from "@unseal/queue/run/ending"
import { Redis } from "ioredis"
import { test as base, expect } from "vitest"
import { newPayload } from "./queue.ts"
import { type RedisServer, startRedis } from "./redis/redis.ts"

export const SICK = "100001"
export const WELL = "200002"

export type Run = ConsumerOptions<RunResult>["run"]

export interface Watched extends Consumer {
  readonly ended: EndedRun<RunResult>[]
  readonly lines: { level: string; message: string; fields: Record<string, unknown> }[]
}

/** A test's own queue, and what it does with it. */
export interface SuspensionRig {
  readonly client: Redis
  readonly queue: string
  /** Resolves to the jobs' ids. */
  enqueue(projectId: string, count: number, fields?: Partial<JobPayload>): Promise<string[]>
  /** A consumer that probes within a second, and has used its keys and both stores whenever `run` succeeds. */
  consume(run: Run, options?: Partial<ConsumerOptions<RunResult>>): Watched
  completed(): Promise<string[]>
  /** The accounts, which must balance. */
  accounts(): Promise<Accounts>
  field(jobId: string, name: string): Promise<string | null>
  /** `expect.poll`, for up to 30 s. */
  poll: <T>(ask: () => T | Promise<T>, timeout?: number) => ReturnType<typeof expect.poll<T>>
  /** Called at the end, the last first. */
  defer(end: () => unknown): void
}

/** A run that fails with `code` on `side`. */
export const fails = (code: ErrorCode, side: Side): UnsealError => {
  const error = new UnsealError(code, "as the test wants")
  error.side = side
  return error
}

/** Gives each test a `rig`. All tests of a file share one Redis. */
export const test = base.extend<{ readonly redis: RedisServer; readonly rig: SuspensionRig }>({
  redis: [
    // biome-ignore lint/correctness/noEmptyPattern: Vitest reads from it that there is nothing to set up before.
    async ({}, use) => {
      const server = await startRedis()
      await use(server)
      await server.close()
    },
    { scope: "file" },
  ],
  rig: async ({ redis, task }, use) => {
    await using ends = new AsyncDisposableStack()
    await use(createRig(redis.url, ends, task.context.expect))
  },
})

function createRig(url: string, ends: AsyncDisposableStack, own: typeof expect): SuspensionRig {
  const queue = `suspension-${randomUUID().slice(0, 8)}`
  const client = new Redis(url)
  const defer: SuspensionRig["defer"] = (end) => ends.defer(async () => void (await end()))
  defer(() => client.disconnect())
  return {
    ...{ client, queue, defer },
    async enqueue(projectId, count, fields) {
      const producer = createProducer({
        connection: client,
        queue,
        ...{ deadlineMs: 60_000, pendingLimit: 100_000 },
      })
      const payloads = Array.from({ length: count }, () => newPayload(projectId, fields))
      const jobs = await Promise.all(payloads.map((payload) => producer.enqueue(payload)))
      await producer.close()
      return jobs.map(({ jobId }) => jobId)
    },
    consume(run, options = {}) {
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
          for (const side of ["source", "destination", "keys"] as const) context.worked(side, since)
          return result
        },
        ...options,
      })
      defer(() => consumer.close())
      return Object.assign(consumer, { ended, lines })
    },
    completed: () => client.zrange(queueKey(queue, "completed"), 0, "-1"),
    async accounts() {
      const accounts = await readAccounts(client, queue)
      expect(accounts.missing).toBe(0)
      return accounts
    },
    field: (jobId, name) => client.hget(queueKey(queue, jobId), name),
    poll: (ask, timeout = 30_000) => own.poll(ask, { timeout, interval: 50 }),
  }
}
