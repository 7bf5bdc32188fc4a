/**
 * Suspension: the deployment's trouble is not the archive's.
 *
 * A run that fails for credentials, permissions, a store or a key service that is down hands its job back without an attempt, and
 * suspends what it hit: one side (source, destination, keys, vendor) of one project. Everything of that project which waits is set
 * aside in BullMQ's `delayed` set, each job once; one of them, the probe, is due after about a second, and after each probe that
 * fails another one is, after up to a minute. BullMQ gives a job to one worker, so a fleet probes no more often than one process.
 * As soon as anything of the project works on that side, the suspension ends, and its archives go back in line in their old order,
 * a few at first: what fails at once again suspends the rest before it was begun.
 *
 * A job that was taken all the same, since its callback is newer, is set aside when it is taken. One that is held for `maxMs` comes
 * due, and is a dead letter. What a process did not do to its end, as it was killed, a sweep does within a minute.
 */

import { LAST_PRIORITY } from "./bullmq-inside.ts"
import type { RedisClient } from "./client.ts"
import { withDeadline } from "./deadline.ts"
import { codeOf, reasonOf } from "./ending.ts"
import type { QueueLogger } from "./error-log.ts"
import type { JobPayload } from "./job.ts"
import { suspensionsKey } from "./names.ts"
import { type Asides, MOST_STRIKES } from "./stand-aside.ts"
import type { Admission, Suspensions, Verdict } from "./suspension-contract.ts"
import { RELEASE, SET_ASIDE } from "./suspension-moves.ts"
import { expiredReason, retryAfterMsOf } from "./suspension-reason.ts"
import { ADMIT, END, HIT, PASS_ON, TEND } from "./suspension-scripts.ts"
import { nameOf, parseName, readStates, runScript, SIDES, type SuspensionState } from "./suspension-state.ts"

export interface SuspensionOptions {
  readonly connection: RedisClient
  readonly queue: string
  /** How long an archive may be held. */
  readonly maxMs: number
  readonly asides: Asides
  /** Until the first probe: 1000. */
  readonly firstMs?: number
  /** Between two probes at most: 20000, so that archives flow within a minute of the end, though a probe takes its time to fail. */
  readonly mostMs?: number
  readonly logger?: QueueLogger
  logError(error: unknown, message: string): void
}

/**
 * A failure that came this often, while others succeeded after each time, is the archive's own. A worker must have succeeded itself
 * to say so twice: one whose own network or mount is broken fails for ever while all others succeed.
 */
const OWN_HITS = 3
const POLL_MS = 2_000
const SWEEP_MS = 60_000
/** A probe is looked after when it should have begun so long ago. */
const OVERDUE_MS = 5_000
const ANSWER_MS = 1_000
const PAGE = 500
/** The first batch of what goes back in line, and the pause between two. */
const FIRST_BATCH = 50
const BATCH_PAUSE_MS = 200
/** So many jobs a second are set aside one by one; beyond that the line is gone through. */
const SINGLES_PER_SECOND = 20

export function createSuspensions(options: SuspensionOptions): Suspensions {
  const { connection, queue, maxMs, asides, firstMs = 1_000, mostMs = 20_000, logger, logError } = options
  let known = new Map<string, SuspensionState>()
  let closed = false
  let sweptAt = performance.now()
  let singles = { since: 0, count: 0 }
  const releasing = new Set<string>()
  const endingNow = new Set<string>()
  /** Since when a side of a project has worked for this process, by the suspension's name. */
  const workedHere = new Map<string, number>()
  /** When that was seen. */
  const seenHere = new Map<string, number>()

  const script = (lua: string, given: Readonly<Record<string, unknown>>) =>
    withDeadline(
      runScript(connection, queue, lua, given),
      ANSWER_MS,
      () => new Error(`redis did not answer within ${ANSWER_MS} ms`),
    )
  const isOn = (name: string) => known.has(name) && !known.get(name)!.ending
  const inBackground = (work: Promise<unknown>) =>
    void work.catch((error) => logError(error, "suspended archives could not be moved"))

  let timer = setTimeout(poll, 0)
  timer.unref()

  async function refresh(): Promise<void> {
    known = await readStates(connection, queue)
  }

  async function poll(): Promise<void> {
    try {
      await refresh()
      for (const [name, state] of known)
        if (state.ending) inBackground(release(name))
        else if (Date.now() - (state.nextProbeAt ?? 0) > OVERDUE_MS) inBackground(tend(name))
      if (known.size > 0 && performance.now() - sweptAt > SWEEP_MS) {
        sweptAt = performance.now()
        inBackground(sweep())
      }
    } catch (error) {
      if (!closed) logError(error, "suspensions could not be read")
    }
    if (closed) return
    timer = setTimeout(poll, POLL_MS * (0.75 + Math.random() / 2))
    timer.unref()
  }

  const hasLock = async (what: string, ms: number): Promise<boolean> =>
    (await connection.set(`${suspensionsKey(queue)}:${what}`, 1, "PX", ms, "NX")) === "OK"

  async function sweep(): Promise<void> {
    if (!(await hasLock("sweep", SWEEP_MS * 0.9))) return
    for (const [name, { ending }] of known) {
      if (ending) continue
      await setAside(name)
    }
  }

  /** The probe may be under way for long, or lost with its worker. */
  async function tend(name: string): Promise<void> {
    if (!(await hasLock(`tend:${name}`, OVERDUE_MS))) return
    if ((await script(TEND, { name })) === 1) known.delete(name)
  }

  /** Everything that waits of what `name` suspends. */
  async function setAside(name: string): Promise<void> {
    if (!(await hasLock(`aside:${name}`, 2_000))) return
    const { projectId, side } = parseName(name)
    const given = {
      name,
      limit: PAGE,
      ofProject: `${projectId}_`,
      word: side === "vendor" ? VENDOR_WORD : "",
    }
    for (let from = "-inf"; from !== "" && !closed; )
      from = String(await script(SET_ASIDE, { ...given, from }))
    if ((await script(TEND, { name })) === 1) known.delete(name)
  }

  /** One process puts back what a suspension held; if it dies, another goes on. */
  async function release(name: string): Promise<void> {
    if (releasing.has(name) || closed) return
    releasing.add(name)
    try {
      if (!(await hasLock(`release:${name}`, 5_000))) return
      const state = known.get(name)
      if (state?.byHand) logEnd(name, state)
      const { projectId, side } = parseName(name)
      const others = SIDES.filter((one) => one !== side && one !== "vendor").map((one) =>
        nameOf(projectId, one),
      )
      await setAside(name)
      for (let limit = FIRST_BATCH; !closed; limit = Math.min(2 * limit, PAGE)) {
        const given = { name, limit, others, project: projectId, last: LAST_PRIORITY }
        if (Number(await script(RELEASE, given)) <= 0) break
        await connection.pexpire(`${suspensionsKey(queue)}:release:${name}`, 5_000)
        await new Promise((resolve) => setTimeout(resolve, BATCH_PAUSE_MS))
      }
      await connection.del(`${suspensionsKey(queue)}:release:${name}`)
      known.delete(name)
    } finally {
      releasing.delete(name)
    }
  }

  async function end(name: string, agoMs: number): Promise<void> {
    const text = await script(END, { name, agoMs })
    if (typeof text !== "string") return
    const state = JSON.parse(text) as SuspensionState
    known.set(name, state)
    logEnd(name, state)
    inBackground(release(name))
  }

  function logEnd(name: string, { since, endedAt = since, code, probes, byHand }: SuspensionState): void {
    const seconds = (endedAt - since) / 1_000
    logger?.info(
      { ...parseName(name), code, seconds, failedProbes: probes, ...(byHand && { byHand }) },
      "suspension ended: the project's archives go on",
    )
  }

  const countSingle = (name: string): void => {
    const now = performance.now()
    if (now - singles.since > 1_000) singles = { since: now, count: 0 }
    if (++singles.count === SINGLES_PER_SECOND) inBackground(setAside(name))
  }

  return {
    async admit({ jobId, token, payload, isFirst }): Promise<Admission> {
      const names = neededBy(payload)
      if (!asides.admits(names, jobId)) return { kind: "aside" }
      const name = names.find(isOn)
      if (name === undefined && !isFirst) return { kind: "run" }
      const [kind, ...rest] = (await script(ADMIT, {
        id: jobId,
        token,
        names,
        by: workerOf(token),
      })) as string[]
      // The probe of a suspension that is younger than the last look at them all: its success must end it.
      if (kind === "probe" && !isOn(rest[0]!)) await refresh()
      if (kind === "probe") return { kind: "run", ...(rest[0] !== undefined && { probeOf: rest[0] }) }
      if (kind === "expired") {
        const [, reason = "", heldMs] = rest
        return { kind: "expired", code: codeOf(reason), reason: expiredReason(reason, Number(heldMs)) }
      }
      if (kind === "run") {
        if (name !== undefined) known.delete(name)
        return { kind }
      }
      if (kind === "held" && name !== undefined) countSingle(name)
      return { kind: "held" }
    },

    async hit({ jobId, token, payload }, side, error, runMs): Promise<Verdict> {
      const name = nameOf(payload.projectId, side)
      const reason = reasonOf(error)
      const { code, remedy } = error
      const workedAt = workedHere.get(name)
      const given = {
        ...{ name, id: jobId, token, code, reason, remedy, maxMs, mostMs, ownHits: OWN_HITS },
        ...{ by: workerOf(token), runMs, mostStrikes: MOST_STRIKES, ...asides.failing(name) },
        ...(workedAt !== undefined && {
          workedAgoMs: Math.max(0, Date.now() - workedAt),
          seenAgoMs: Math.max(0, Date.now() - seenHere.get(name)!),
        }),
        firstMs: Math.max(Math.min(firstMs, mostMs), retryAfterMsOf(error)),
      }
      const [verdict, heldMs, at, strikes] = (await script(HIT, given)) as string[]
      if (verdict !== "lost")
        asides.failed(name, { at: Number(at), strikes: Number(strikes), code, reason, remedy })
      if (verdict === "back") return { kind: verdict }
      if (verdict === "own" || verdict === "lost") return { kind: verdict }
      if (verdict === "expired") return { kind: verdict, reason: expiredReason(reason, Number(heldMs)) }
      if (!isOn(name)) {
        const since = Date.now()
        known.set(name, { since, code, reason, remedy, intervalMs: firstMs, probes: 0, maxMs })
      }
      if (verdict === "began") {
        logger?.warn(
          { projectId: payload.projectId, side, code, reason, remedy, err: error },
          "project suspended: its archives wait until a probe succeeds",
        )
        inBackground(setAside(name))
      }
      return { kind: "held" }
    },

    works(payload, side, since) {
      const name = nameOf(payload.projectId, side)
      workedHere.set(name, Math.max(since, workedHere.get(name) ?? 0))
      seenHere.set(name, Date.now())
      asides.worked(name)
      if (!isOn(name) || endingNow.has(name)) return
      endingNow.add(name)
      inBackground(end(name, Math.max(0, Date.now() - since)).finally(() => endingNow.delete(name)))
    },

    hinders({ projectId }, side, probeOf) {
      const name = nameOf(projectId, side)
      return name !== probeOf && isOn(name)
    },

    async ended({ jobId, payload }, worked, probeOf) {
      asides.ended(jobId)
      if (known.size === 0 && probeOf === undefined) return
      for (const [side, at] of worked) {
        const name = nameOf(payload.projectId, side)
        if (isOn(name)) await end(name, Math.max(0, Date.now() - at))
      }
      if (probeOf !== undefined && isOn(probeOf)) await script(PASS_ON, { name: probeOf, id: jobId })
    },

    close() {
      closed = true
      clearTimeout(timer)
    },
  }
}

/** What tells in a job's data that it needs the vendor: only of an `available` archive is there a copy. */
const VENDOR_WORD = '"status":"available"'

/** A token is the worker's id and a number. */
const workerOf = (token: string): string => token.split(":")[0]!

const neededBy = ({ projectId, status }: JobPayload): string[] =>
  SIDES.filter((side) => side !== "vendor" || status === "available").map((side) => nameOf(projectId, side))
