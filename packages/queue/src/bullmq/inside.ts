/**
 * BullMQ's internals that Unseal uses beyond its interface: the script that adds a job, and a worker's backend. BullMQ is pinned
 * to one version. If an upgrade changes these, or the keys, scores and fields that our own scripts share with BullMQ's, a test
 * in bullmq-inside.test.ts fails by name.
 */
import { Job, type JobsOptions, type Queue, type Worker } from "bullmq"
import { JOB_NAME } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"

/** BullMQ's highest priority number. */
export const LAST_PRIORITY = 2 ** 21 - 1

/** BullMQ's script that adds a job: its text and its keys. */
export interface AddScript {
  readonly lua: string
  readonly keys: readonly unknown[]
}

/** The script's arguments for one job: packed description, data as JSON, packed options. */
export type AddArguments = readonly [described: unknown, data: unknown, options: unknown]

/** The script that adds jobs with a priority to `queue`, and its arguments for each of `jobs`, which must not be empty. */
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

/** The parts of a worker's backend that are patched (worker-backend.ts). */
export interface BackendInside {
  /** Makes the arguments of `moveToFinished`; see `FINISHED_ARGUMENT`. */
  moveToFinishedArgs(job: { readonly data: unknown }, ...given: unknown[]): unknown[]
  /** Answers `moveToActive` and `moveToFinished` with `[[field, value, …], job id, …]` if there is a next job. */
  execCommand(client: { runCommand: unknown }, command: string, given: unknown[]): Promise<unknown>
  /** Scripts are registered as `NAME:VERSION`. */
  readonly version: string
  readonly client: Promise<{ hdel(key: string, ...fields: string[]): Promise<unknown> }>
  toKey(type: string): string
  /** Its `keys.marker` is what `waitForJob` waits for. */
  readonly queue: { readonly keys: Readonly<Record<string, string>> }
  moveToActive(token: string, name?: string): Promise<unknown>
  waitForJob(blockSeconds: number): Promise<unknown>
  reconnectBlocking(): Promise<void>
}

/** Positions among the arguments of `moveToFinishedArgs` after the job: the job's new state, and the fields to update. */
export const FINISHED_ARGUMENT = { state: 3, fields: 7 } as const

export const backendInside = (worker: Pick<Worker, "getBackend">): BackendInside =>
  worker.getBackend() as unknown as BackendInside
