/** What Redis knows about the jobs of accepted callbacks. */
import { setTimeout as sleep } from "node:timers/promises"
import type { RedisClient } from "@unseal/service/redis/redis"
import { QUEUE } from "../settings.ts"
import type { Answered } from "./callbacks.ts"

/** A view of the queue: the answers to callers, and Redis itself. */
export interface QueueView {
  readonly answers: readonly Answered[]
  readonly client: RedisClient
}

export interface JobState {
  readonly jobId: string
  readonly state: "completed" | "failed" | "live" | "missing"
  /** How often its runs began, how often they failed, and how often its worker disappeared. */
  readonly starts: number
  readonly attempts: number
  readonly stalls: number
  readonly failedReason: string
  readonly encryptedPassword: string
}

const keyOf = (name: string): string => `{${QUEUE}}:${QUEUE}:${name}`

/** The jobs of accepted callbacks, by id. */
export function acceptedJobs(world: Pick<QueueView, "answers">): ReadonlyMap<string, readonly Answered[]> {
  const jobs = new Map<string, Answered[]>()
  for (const answer of world.answers)
    if (answer.jobId !== undefined) jobs.set(answer.jobId, [...(jobs.get(answer.jobId) ?? []), answer])
  return jobs
}

export async function readJobs(world: QueueView): Promise<JobState[]> {
  return Promise.all(
    [...acceptedJobs(world).keys()].map(async (jobId) => {
      const [fields, completed, failed] = await Promise.all([
        world.client.hgetall(keyOf(jobId)),
        world.client.zscore(keyOf("completed"), jobId),
        world.client.zscore(keyOf("failed"), jobId),
      ])
      const state = completed ? "completed" : failed ? "failed" : fields.data ? "live" : "missing"
      const { encryptedPassword = "" } = JSON.parse(fields.data ?? "{}") as { encryptedPassword?: string }
      return {
        ...{ jobId, state, encryptedPassword, failedReason: fields.failedReason ?? "" },
        starts: Number(fields.ats ?? 0),
        attempts: Number(fields.atm ?? 0),
        stalls: Number(fields.stc ?? 0),
      }
    }),
  )
}

/** Jobs that have ended for good. Called often, so it only reads two counts. */
export async function countEnded({ client }: QueueView): Promise<number> {
  const ended = await Promise.all(["completed", "failed"].map((set) => client.zcard(keyOf(set))))
  return ended.reduce((sum, count) => sum + count, 0)
}

/** Jobs that workers are running. */
export const countActive = ({ client }: QueueView): Promise<number> => client.llen(keyOf("active"))

/** Whether each of `jobIds` has ended for good, in one request. */
export async function endedJobs(world: QueueView, jobIds: readonly string[]): Promise<boolean[]> {
  if (jobIds.length === 0) return []
  const looks = world.client.pipeline()
  for (const jobId of jobIds) looks.zscore(keyOf("completed"), jobId).zscore(keyOf("failed"), jobId)
  const scores = (await looks.exec()) ?? []
  return jobIds.map((_, index) => [0, 1].some((which) => scores[2 * index + which]?.[1] != null))
}

/** Like `endedJobs`, but a job that no longer exists counts as ended. */
async function endedOrGone(world: QueueView, jobIds: readonly string[]): Promise<boolean[]> {
  const ended = await endedJobs(world, jobIds)
  const present = await Promise.all(jobIds.map((jobId) => world.client.exists(keyOf(jobId))))
  return ended.map((isEnded, index) => isEnded || present[index] === 0)
}

/** Resolves when every accepted job is done for good; rejects after `ms`. With `forgotten`, a missing job counts as done. */
export async function untilSettled(world: QueueView, ms: number, forgotten = false): Promise<void> {
  const deadline = Date.now() + ms
  for (;;) {
    const open = [...acceptedJobs(world).keys()]
    const ended = await (forgotten ? endedOrGone : endedJobs)(world, open)
    const left = open.filter((_, index) => !ended[index])
    if (left.length === 0) return
    if (Date.now() > deadline)
      throw new Error(
        `${left.length} of ${open.length} jobs have not ended within ${ms} ms, e.g. ${left.slice(0, 3).join(", ")}`,
      )
    await sleep(200)
  }
}
