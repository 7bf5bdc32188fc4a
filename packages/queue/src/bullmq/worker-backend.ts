import { withDeadline } from "@unseal/archive/waiting"
import type { Worker } from "bullmq"
import { type BackendInside, backendInside, FINISHED_ARGUMENT } from "./inside.ts"
import { LIVE_MARKER } from "./take-live.ts"
import { finishAndCount, takeInTurn } from "./taking.ts"

/** BullMQ gives up a blocking command after a second and reconnects, which takes at most 5 s. */
const RESET_MS = 10_000

/**
 * The longest wait for a live job. A job that is enqueued ends the wait at once. One that returns by itself (a retry that is due)
 * wakes only workers that wait for any job.
 */
const LIVE_SECONDS = 1

/** Which jobs a worker wants. */
export interface Wanted {
  /** See `LaneTurn` (lanes/share.ts). */
  bulkShare(): number
  /** Whether the job that is being taken with `token` must be a live one. */
  takesLive(token: string): boolean
  /** Whether to wait only for a live job. */
  waitsForLive(): boolean
}

/**
 * Patches a worker's backend in five ways:
 * - BullMQ knows no bytes. Here, the script that ends a job subtracts its bytes from the backlog (backlog.ts).
 * - BullMQ knows no lanes. Here, the scripts that take a job give each lane its turn (lanes/share.ts). A worker that has no slot for
 *   another bulk job takes only live jobs, and waits for them.
 * - BullMQ keeps all data of a completed job. Here, the completing script removes secrets, and leaves what identifies duplicates.
 * - With BullMQ, a job with a field that is not JSON stalls until it is given up. Here, such a field is removed before it is read,
 *   because it decides nothing.
 * - BullMQ waits for a new connection without a limit, and ioredis never settles a cluster's `connect()` if the node says that the
 *   cluster is down. Here, the wait ends as if no job had come, and the worker asks over its other connection.
 */
export function mendBackend(worker: Worker, { bulkShare, takesLive, waitsForLive }: Wanted): void {
  const backend = backendInside(worker)
  const { moveToFinishedArgs, execCommand, moveToActive, waitForJob, reconnectBlocking } = backend

  /** The backend with `other` properties, for one call. */
  const as = (other: Partial<BackendInside>): BackendInside => Object.assign(Object.create(backend), other)

  backend.moveToActive = (token, name) => {
    const turn = { bulkShare: bulkShare(), takesBulk: !takesLive(token) }
    const execCommand: BackendInside["execCommand"] = (client, _, given) =>
      takeInTurn(backend, client, worker.name, given, turn).then(mendNextJob)
    return moveToActive.call(as({ execCommand }), token, name)
  }

  backend.waitForJob = (givenSeconds) => {
    const isLive = waitsForLive()
    const blockSeconds = isLive ? Math.min(givenSeconds, LIVE_SECONDS) : givenSeconds
    const waiting = isLive ? as({ queue: waitingFor(backend, LIVE_MARKER) }) : backend
    const limitMs = Math.ceil(blockSeconds) * 1_000 + RESET_MS
    return withinLimit(waitForJob.call(waiting, blockSeconds), limitMs, null)
  }
  backend.reconnectBlocking = () => withinLimit(reconnectBlocking.call(backend), RESET_MS / 2, undefined)

  backend.moveToFinishedArgs = (job, ...given) => {
    if (given[FINISHED_ARGUMENT.state] === "completed")
      given[FINISHED_ARGUMENT.fields] = { data: JSON.stringify(withoutSecrets(job.data)) }
    return moveToFinishedArgs.call(backend, job, ...given)
  }

  backend.execCommand = (client, command, given) => {
    if (command !== "moveToFinished") return execCommand.call(backend, client, command, given)
    const turn = { bulkShare: bulkShare(), takesBulk: true }
    return finishAndCount(backend, client, worker.name, given, turn).then(mendNextJob)
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

/** What the backend knows of its queue, with another marker. */
function waitingFor(backend: BackendInside, marker: string): BackendInside["queue"] {
  const keys = { ...backend.queue.keys, marker: backend.toKey(marker) }
  return Object.create(backend.queue, { keys: { value: keys } })
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
