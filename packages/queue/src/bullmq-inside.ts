/**
 * What Unseal uses of BullMQ's inside, where its interface ends: the script that adds a job, and a worker's backend. BullMQ is pinned to one
 * version. What an upgrade changes of this, or of the keys, scores and fields that our own scripts share with BullMQ's, fails
 * bullmq-inside.test.ts by name.
 */
import { Job, type JobsOptions, type Queue, type Worker } from "bullmq"
import type { RedisClient } from "./client.ts"
import { JOB_NAME } from "./names.ts"

/** BullMQ's priorities end here. */
export const LAST_PRIORITY = 2 ** 21 - 1

/** BullMQ's script that adds a job: its text, and the keys that it is given. */
export interface AddScript {
  readonly lua: string
  readonly keys: readonly unknown[]
}

/** What the script is given of one job: packed description, data as JSON, packed options. */
export type AddArguments = readonly [described: unknown, data: unknown, options: unknown]

/** The script that adds jobs with a priority to `queue`, and what it is given of each of `jobs`, one at least. */
export async function addScriptFor(
  connection: RedisClient,
  queue: Queue,
  jobs: readonly { readonly payload: unknown; readonly options: JobsOptions & { readonly jobId: string } }[],
): Promise<{ script: AddScript; given: readonly AddArguments[] }> {
  // From then on the connection knows BullMQ's scripts.
  await queue.getBackend().client
  const calls = jobs.map(({ payload, options }) => {
    let call: { name: string; given: unknown[] } | undefined
    const runCommand = (name: string, given: unknown[]) => {
      call = { name, given }
    }
    const job = new Job(queue, JOB_NAME, payload, { ...options, priority: LAST_PRIORITY }, options.jobId)
    void job.addJob({ runCommand } as never, {})
    if (call === undefined) throw new Error("BullMQ did not add the job by a script")
    return call
  })
  const { name, given } = calls[0]!
  const { lua, numberOfKeys } = (
    connection.scriptsSet as Readonly<Record<string, { lua: string; numberOfKeys: number }>>
  )[name]!
  return {
    script: { lua, keys: given.slice(0, numberOfKeys) },
    given: calls.map((call) => call.given.slice(numberOfKeys) as unknown as AddArguments),
  }
}

/** A worker's backend, as far as it is mended (worker-backend.ts). */
export interface BackendInside {
  /** What `moveToFinished` is given; see `FINISHED_ARGUMENT`. */
  moveToFinishedArgs(job: { readonly data: unknown }, ...given: unknown[]): unknown[]
  /** Answers `moveToActive` and `moveToFinished` with `[[field, value, …], job id, …]` if there is a next job. */
  execCommand(client: { runCommand: unknown }, command: string, given: unknown[]): Promise<unknown>
  readonly client: Promise<{ hdel(key: string, ...fields: string[]): Promise<unknown> }>
  toKey(type: string): string
  waitForJob(blockSeconds: number): Promise<unknown>
  reconnectBlocking(): Promise<void>
}

/** Where they are among what `moveToFinishedArgs` is given after the job: the state that it goes to, and the fields to update. */
export const FINISHED_ARGUMENT = { state: 3, fields: 7 } as const

export const backendInside = (worker: Pick<Worker, "getBackend">): BackendInside =>
  worker.getBackend() as unknown as BackendInside
