/**
 * Suspension: trouble of the deployment is not the archive's.
 *
 * A run that fails because of credentials, permissions, or a store or key service that is down hands its job back without an
 * attempt, and suspends what it hit: one side (source, destination, keys, vendor) of one project. All waiting jobs of that
 * project are set aside in BullMQ's `delayed` set, each once. One of them, the probe, is due after about a second, and after each
 * failed probe another one is, after up to 20 s. BullMQ gives a job to one worker, so a fleet probes no more often than one
 * process. As soon as anything of the project works on that side, the suspension ends, and its archives go back in line in their
 * old order, a few at first: an immediate failure suspends the rest again before they have begun.
 *
 * A job that was taken anyway, because its callback is newer, is set aside when it is taken. A job that was held for `maxMs`
 * comes due, and becomes a dead letter. A sweep finishes within a minute what a killed process left unfinished.
 */

import { withDeadline } from "@unseal/archive/waiting"
import type { JobPayload } from "../jobs/job.ts"
import { suspensionsKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"
import type { QueueLogger } from "../redis/error-log.ts"
import { codeOf, reasonOf } from "../run/ending.ts"
import type { Admission, Suspensions, Verdict } from "./contract.ts"
import { RELEASE, SET_ASIDE } from "./moves.ts"
import { expiredReason, retryAfterMsOf } from "./reason.ts"
import { ADMIT, END, HIT, PASS_ON, TEND } from "./scripts.ts"
import { type Asides, MOST_STRIKES } from "./stand-aside.ts"
import { nameOf, parseName, readStates, runScript, SIDES, type SuspensionState, wordOf } from "./state.ts"

export interface SuspensionOptions {
  readonly connection: RedisClient
  readonly queue: string
  /** How long an archive may be held. */
  readonly maxMs: number
  readonly asides: Asides
  /** The time until the first probe. Default 1000. */
  readonly firstMs?: number
  /**
   * The longest time between two probes. Default 20000, so that archives flow within a minute of the end, although a probe fails
   * slowly.
   */
  readonly mostMs?: number
  readonly logger?: QueueLogger
  logError(error: unknown, message: string): void
}

/**
 * A job that has failed this often, each time followed by others' success, is itself at fault. A worker counts twice only if it has
 * succeeded itself: one with a broken network or mount fails for ever while all others succeed.
 */
const OWN_HITS = 3
const POLL_MS = 2_000
const SWEEP_MS = 60_000
/** A probe is checked when it is overdue by this much. */
const OVERDUE_MS = 5_000
const ANSWER_MS = 1_000
const PAGE = 500
/** The first batch to go back in line, and the pause between two batches. */
const FIRST_BATCH = 50
const BATCH_PAUSE_MS = 200
/** Up to this many jobs a second are set aside one by one. Beyond that, the whole line is processed. */
const SINGLES_PER_SECOND = 20

export function createSuspensions(options: SuspensionOptions): Suspensions {
  const { connection, queue, maxMs, asides, firstMs = 1_000, mostMs = 20_000, logger, logError } = options
  let known = new Map<string, SuspensionState>()
  let closed = false
  let sweptAt = performance.now()
  let singles = { since: 0, count: 0 }
  const releasing = new Set<string>()
  const endingNow = new Set<string>()
  /** Since when each side of a project has worked for this process, by the suspension's name. */
  const workedHere = new Map<string, number>()
  /** When that was observed. */
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

  /** The probe may run for long, or be lost with its worker. */
  async function tend(name: string): Promise<void> {
    if (!(await hasLock(`tend:${name}`, OVERDUE_MS))) return
    if ((await script(TEND, { name })) === 1) known.delete(name)
  }

  /** Sets aside all waiting jobs that `name` suspends. */
  async function setAside(name: string): Promise<void> {
    if (!(await hasLock(`aside:${name}`, 2_000))) return
    const { projectId, side } = parseName(name)
    const given = {
      name,
      limit: PAGE,
      ofProject: `${projectId}_`,
      word: wordOf(side),
    }
    for (let from = "-inf"; from !== "" && !closed; )
      from = String(await script(SET_ASIDE, { ...given, from }))
    if ((await script(TEND, { name })) === 1) known.delete(name)
  }

  /** Puts back what a suspension held. One process does it at a time; if it dies, another continues. */
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
        const given = { name, limit, others, project: projectId }
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
      // It probes a suspension younger than the last look at all of them, and its success must end that.
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

/** A token consists of the worker's id and a number. */
const workerOf = (token: string): string => token.split(":")[0]!

const neededBy = ({ projectId, status }: JobPayload): string[] =>
  SIDES.filter((side) => side !== "vendor" || status === "available").map((side) => nameOf(projectId, side))
