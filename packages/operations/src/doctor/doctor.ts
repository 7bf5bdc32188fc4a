/** `unseal doctor`: checks what a worker and ingest need, and says what to mend. It changes nothing that anybody sees. */
import type { WorkerProject } from "@unseal/service/projects/projects"
import type { Check } from "./check.ts"
import { examineProject, type ProjectAccess } from "./project.ts"
import { type ExaminedRedis, examineRedis, type RedisAccess } from "./redis.ts"

export type { Check } from "./check.ts"

export interface DoctorAccess extends ProjectAccess {
  /** Rejects with an error whose message says what is wrong. */
  readonly connectRedis: (signal: AbortSignal) => Promise<RedisAccess>
}

export interface DoctorOptions {
  /** `null`: the settings for Redis can't be used. */
  readonly redis: ExaminedRedis | null
  readonly projects: readonly WorkerProject[]
  /** How long each look may take, in milliseconds. Default 10000. */
  readonly limitMs?: number
  readonly now?: () => number
}

/** Of projects. Each makes four looks at once. */
const AT_ONCE = 8

/**
 * Yields the checks of Redis, then those of each project, in order, while the next projects are being looked at. An abort of
 * `signal` ends it with its reason.
 */
export async function* examine(
  access: DoctorAccess,
  { redis, projects, limitMs = 10_000, now = Date.now }: DoctorOptions,
  signal: AbortSignal,
): AsyncGenerator<Check> {
  const limits = { limitMs, now }
  const looks = [
    ...(redis === null ? [] : [() => examineRedis(access.connectRedis, redis, limits, signal)]),
    ...projects.map((project) => () => examineProject(project, access, limits, signal)),
  ]
  for await (const checks of inOrder(looks, AT_ONCE)) {
    signal.throwIfAborted()
    yield* checks
  }
}

/** The results of `tasks`, which never reject, in their order. Up to `atOnce` of them run ahead. */
async function* inOrder<T>(tasks: readonly (() => Promise<T>)[], atOnce: number): AsyncGenerator<T> {
  const running: Promise<T>[] = []
  for (let index = 0; index < tasks.length; index++) {
    while (running.length < tasks.length && running.length < index + atOnce)
      running.push(tasks[running.length]!())
    yield await running[index]!
    delete running[index]
  }
}
