import { withDeadline } from "@unseal/archive/waiting"
import type { Worker } from "bullmq"
import type { LaneTurn } from "../lanes/share.ts"
import { backendInside, FINISHED_ARGUMENT } from "./inside.ts"
import { finishAndCount, takeInTurn } from "./taking.ts"

/** BullMQ gives up a blocking command after a second and reconnects, which takes at most 5 s. */
const RESET_MS = 10_000

/**
 * Patches a worker's backend in five ways. BullMQ knows no bytes; here the script that ends a job takes its bytes off the backlog
 * (backlog.ts). It knows no lanes; here the scripts that take a job give each its turn, as `turnOf` asks (lanes/share.ts). BullMQ keeps all data of a completed job; here the completing script removes secrets,
 * and leaves what identifies duplicates. A job with a field that is not JSON would stall until it is given up; here such a field
 * is removed before it is read, because no such field decides anything. The wait for the next job awaits a new connection without
 * a limit, and ioredis never settles a cluster's `connect()` if the node says that the cluster is down; here the wait ends as if
 * no job had come, and the worker asks over its other connection.
 */
export function mendBackend(worker: Worker, turnOf: () => LaneTurn): void {
  const backend = backendInside(worker)
  const { moveToFinishedArgs, execCommand, waitForJob, reconnectBlocking } = backend

  backend.waitForJob = (blockSeconds) =>
    withinLimit(waitForJob.call(backend, blockSeconds), Math.ceil(blockSeconds) * 1_000 + RESET_MS, null)
  backend.reconnectBlocking = () => withinLimit(reconnectBlocking.call(backend), RESET_MS / 2, undefined)

  backend.moveToFinishedArgs = (job, ...given) => {
    if (given[FINISHED_ARGUMENT.state] === "completed")
      given[FINISHED_ARGUMENT.fields] = { data: JSON.stringify(withoutSecrets(job.data)) }
    return moveToFinishedArgs.call(backend, job, ...given)
  }

  backend.execCommand = (client, command, given) => {
    if (command === "moveToFinished")
      return finishAndCount(backend, client, worker.name, given, turnOf()).then(mendNextJob)
    if (command === "moveToActive")
      return takeInTurn(backend, client, worker.name, given, turnOf()).then(mendNextJob)
    return execCommand.call(backend, client, command, given)
  }

  /** `answer` is `[[field, value, …], job id, …]` if there is a next job. */
  async function mendNextJob(answer: unknown): Promise<unknown> {
    if (!Array.isArray(answer) || !Array.isArray(answer[0])) return answer
    const fields: string[] = answer[0]
    const damaged = MUST_BE_JSON.filter((name) => {
      const at = fields.findIndex((each, index) => index % 2 === 0 && each === name)
      if (at < 0 || isReadable(name, fields[at + 1]!)) return false
      fields.splice(at, 2)
      return true
    })
    if (damaged.length > 0) await (await backend.client).hdel(backend.toKey(String(answer[1])), ...damaged)
    return answer
  }
}

/** Resolves like `work`, or to `otherwise` after `ms`. */
async function withinLimit<T>(work: Promise<T>, ms: number, otherwise: T): Promise<T> {
  const late = new Error()
  try {
    return await withDeadline(work, ms, () => late)
  } catch (error) {
    if (error !== late) throw error
    return otherwise
  }
}

/** `data` is not listed: a job without data is damaged, and becomes a dead letter. */
const MUST_BE_JSON = ["opts", "progress", "parent"]

function isReadable(name: string, text: string): boolean {
  try {
    const value: unknown = JSON.parse(text)
    return name !== "opts" || (typeof value === "object" && value !== null)
  } catch {
    return false
  }
}

function withoutSecrets(data: unknown): unknown {
  const { encryptedPassword: _, url: __, ...kept } = data as Record<string, unknown>
  return kept
}
