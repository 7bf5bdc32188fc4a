/**
 * Stores that differ from S3. A fault (faults/plan.ts) strikes single requests. A quirk describes the whole store, for as long
 * as it is switched on. Each row is an object with a few hooks in the serving path (quirks/hooks.ts).
 */

import type { FaultAction } from "../faults/plan.ts"
import type { Reply, S3Request, ServerState } from "../http/handler.ts"
import type { S3Error } from "../http/s3-error.ts"
import { BODY_QUIRKS } from "./bodies.ts"
import { DEMAND_QUIRKS } from "./demands.ts"
import type { ArrivingRequest, QuirkHooks, QuirkRow } from "./hooks.ts"
import { IDENTITY_QUIRKS } from "./identity.ts"
import { ANSWER_QUIRKS } from "./responses.ts"
import { TRAFFIC_QUIRKS } from "./traffic.ts"

/** All quirks. */
export const QUIRKS = {
  ...IDENTITY_QUIRKS,
  ...BODY_QUIRKS,
  ...ANSWER_QUIRKS,
  ...TRAFFIC_QUIRKS,
  ...DEMAND_QUIRKS,
} as const satisfies Record<string, QuirkRow>

export type QuirkName = keyof typeof QUIRKS

export const QUIRK_NAMES = Object.keys(QUIRKS) as readonly QuirkName[]

/** For messages: every name with its meaning, one per line. */
export const describeQuirks = (): string =>
  Object.entries(QUIRKS)
    .map(([name, { meaning }]) => `  ${name}: a store that ${meaning}`)
    .join("\n")

export const isQuirkName = (name: string): name is QuirkName => Object.hasOwn(QUIRKS, name)

/** The quirks that are switched on at a server. A change takes effect with the next request. */
export class Quirks {
  readonly #active = new Map<QuirkName, QuirkHooks>()
  readonly #exempt: ReadonlySet<string>

  /** Requests that claim an access key of `exempt` are served as S3 serves them. */
  constructor(names: Iterable<QuirkName> = [], exempt: Iterable<string> = []) {
    this.#exempt = new Set(exempt)
    for (const name of names) this.add(name)
  }

  /** Switches a quirk on. A quirk that is already on starts afresh. */
  add(name: QuirkName): this {
    this.#active.set(name, QUIRKS[name].create())
    return this
  }

  /** Switches a quirk off. Returns whether it was on. */
  delete(name: QuirkName): boolean {
    return this.#active.delete(name)
  }

  clear(): void {
    this.#active.clear()
  }

  has(name: QuirkName): boolean {
    return this.#active.has(name)
  }

  names(): readonly QuirkName[] {
    return [...this.#active.keys()]
  }

  /** The active quirks for one request with this access key. */
  begin(accessKeyId?: string): QuirkRun {
    const active = [...this.#active.values()]
    if (accessKeyId === undefined || !this.#exempt.has(accessKeyId)) return new QuirkRun(active)
    // ETags belong to the object, whoever wrote it, and its reader must see them.
    return new QuirkRun(
      active.flatMap(({ state }) => (state?.etags ? [{ state: { etags: state.etags } }] : [])),
    )
  }
}

/** Applies the active quirks to one request: the hooks of each, in the order in which they were switched on. */
export class QuirkRun {
  readonly #hooks: readonly QuirkHooks[]
  readonly clockAheadMs: number
  readonly action: FaultAction
  #begun: S3Request | undefined

  constructor(hooks: readonly QuirkHooks[]) {
    this.#hooks = hooks
    this.clockAheadMs = hooks.reduce((sum, { clockAheadMs = 0 }) => sum + clockAheadMs, 0)
    this.action = Object.assign({}, ...hooks.map((hook) => hook.action))
  }

  state(base: ServerState): ServerState {
    return Object.assign({ ...base }, ...this.#hooks.map((hook) => hook.state))
  }

  arrive(request: ArrivingRequest): void {
    for (const hook of this.#hooks) hook.arrive?.(request)
  }

  before(request: S3Request, state: ServerState): Reply | undefined {
    this.#begun = request
    for (const hook of this.#hooks) {
      const reply = hook.before?.(request, state)
      if (reply) return reply
    }
    return undefined
  }

  document(text: string, request: ArrivingRequest): void {
    for (const hook of this.#hooks) hook.document?.(text, request)
  }

  async reply(given: Reply, request: S3Request, state: ServerState): Promise<Reply> {
    let reply = given
    try {
      for (const hook of this.#hooks) reply = (await hook.reply?.(reply, request, state)) ?? reply
    } catch (error) {
      await given.object?.release()
      throw error
    }
    return reply
  }

  refusal(given: S3Error, request: ArrivingRequest): S3Error {
    return this.#hooks.reduce((refusal, hook) => hook.refusal?.(refusal, request) ?? refusal, given)
  }

  ended(): void {
    if (this.#begun) for (const hook of this.#hooks) hook.ended?.(this.#begun)
  }
}
