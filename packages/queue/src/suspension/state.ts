/** What a suspension is in Redis, for workers, metrics and `unseal queue`. */

import type { Side } from "@unseal/archive/errors"
import { endedSuspensionsKey, heldKey, queueKey, suspensionsKey, turnsKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"
import type { FailureCode } from "../run/ending.ts"
import { END } from "./scripts.ts"

export const SIDES = ["source", "destination", "keys", "vendor"] as const satisfies readonly Side[]

/** As the scripts write it. Times are milliseconds since the epoch, by Redis's clock. */
export interface SuspensionState {
  readonly since: number
  readonly code: FailureCode
  /** `CODE: message` of the latest failure. */
  readonly reason: string
  readonly remedy: string
  /** The time between two probes, before jitter. */
  readonly intervalMs: number
  /** How many probes have failed. */
  readonly probes: number
  /** How long an archive may be held. */
  readonly maxMs: number
  readonly nextProbeAt?: number
  /** The id of the job that is tried next, or right now. */
  readonly probe?: string
  /** It is over, and its archives are going back in line. */
  readonly ending?: true
  readonly endedAt?: number
  readonly byHand?: true
}

/** A suspension of all archives of a project that need one side of it. */
export interface Suspension {
  readonly projectId: string
  readonly side: Side
  readonly code: FailureCode
  readonly reason: string
  readonly remedy: string
  /** ISO 8601, like `nextProbeAt`. */
  readonly since: string
  /** The time since it began. */
  readonly seconds: number
  /** `null` while a probe is running. */
  readonly nextProbeAt: string | null
  readonly probes: number
  /** How many archives it holds. */
  readonly held: number
}

/** `PROJECT:SIDE`: a suspension's name in Redis. A project's id has no colon. */
export const nameOf = (projectId: string, side: Side): string => `${projectId}:${side}`

/** What the data of a job that needs `side` contain; "" if all jobs need it. Only an `available` archive has a copy at the vendor's. */
export const wordOf = (side: Side): string => (side === "vendor" ? '"status":"available"' : "")

export function parseName(name: string): { projectId: string; side: Side } {
  const at = name.lastIndexOf(":")
  return { projectId: name.slice(0, at), side: name.slice(at + 1) as Side }
}

/** Runs a script of suspension-scripts.ts. */
export function runScript(
  connection: RedisClient,
  queue: string,
  script: string,
  given: Readonly<Record<string, unknown>>,
): Promise<unknown> {
  const keys = [suspensionsKey(queue), heldKey(queue, ""), endedSuspensionsKey(queue), turnsKey(queue)]
  return connection.eval(
    script,
    5,
    ...keys,
    queueKey(queue, ""),
    JSON.stringify({ clock: Date.now(), jitter: 0.75 + Math.random() / 2, ...given }),
  )
}

/** All suspensions by name, including those that are ending. */
export async function readStates(
  connection: RedisClient,
  queue: string,
): Promise<Map<string, SuspensionState>> {
  const fields = await connection.hgetall(suspensionsKey(queue))
  return new Map(Object.entries(fields).map(([name, text]) => [name, JSON.parse(text) as SuspensionState]))
}

/** The current suspensions, the oldest first. */
export async function listSuspensions(connection: RedisClient, queue: string): Promise<Suspension[]> {
  const states = [...(await readStates(connection, queue))].filter(([, { ending }]) => !ending)
  if (states.length === 0) return []
  const [seconds, micros] = (await connection.time()) as unknown as [string, string]
  const now = Number(seconds) * 1_000 + Number(micros) / 1_000
  const counts = await Promise.all(states.map(([name]) => connection.zcard(heldKey(queue, name))))
  return states
    .map(([name, state], index): Suspension => {
      const { code, reason, remedy, since, nextProbeAt = 0, probes } = state
      return {
        ...parseName(name),
        ...{ code, reason, remedy, probes },
        since: new Date(since).toISOString(),
        seconds: Math.max(0, (now - since) / 1_000),
        nextProbeAt: nextProbeAt > now ? new Date(nextProbeAt).toISOString() : null,
        held: counts[index]!,
      }
    })
    .sort((a, b) => (a.since < b.since ? -1 : 1))
}

/**
 * Ends suspensions by hand: those of `projectId`, of `side`, or all. A worker puts their archives back in line within seconds. If
 * the trouble persists, the first archive suspends again. Resolves to the suspensions that were ended.
 */
export async function resumeSuspended(
  connection: RedisClient,
  queue: string,
  filter: { readonly projectId?: string | undefined; readonly side?: string | undefined },
): Promise<Suspension[]> {
  const ended: Suspension[] = []
  for (const suspension of await listSuspensions(connection, queue)) {
    const { projectId, side } = suspension
    if ((filter.projectId ?? projectId) !== projectId || (filter.side ?? side) !== side) continue
    const name = nameOf(projectId, side)
    const state = await runScript(connection, queue, END, { name, byHand: true, agoMs: 0 })
    if (state) ended.push(suspension)
  }
  return ended
}
