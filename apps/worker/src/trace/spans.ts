/**
 * The spans below a run: its steps, and the requests that they make. The step in progress is found by the asynchronous context, so
 * the stores, which all runs share, need not know whom they work for.
 */
import { AsyncLocalStorage } from "node:async_hooks"
import type { Step, StepObserver } from "@unseal/archive/decrypt/steps"
import { isUnsealError } from "@unseal/archive/errors"
import type { ExchangeEnd, ExchangeObserver } from "@unseal/archive/store/http/exchanges"
import type { TraceSpan } from "@unseal/service/tracing/contract"

/**
 * The most spans of one run. An archive of 50,000 parts has about 800 (see `isTraced`). The last ones are for what went wrong: a store
 * that refuses for an hour must not hide how the run failed in the end.
 */
const MOST_SPANS = 1_000
const FOR_FAILURES = 100

/** All of the first 32 parts, and then 16 of each further doubling: 163 of 10,000. Every attempt traces the same ones. */
const FIRST_PARTS = 32
export const isTraced = (part: number): boolean =>
  part <= FIRST_PARTS || part % 2 ** Math.ceil(Math.log2(part / FIRST_PARTS)) === 0

/** Waits for others, and bookkeeping of a part, leave no span if they are over so soon: there would be three for each part. */
const WORTH_A_SPAN_MS = 10

/** A run that is traced. */
export class RunSpan {
  readonly span: TraceSpan
  /** Once it is over, what it left behind (a connection's timers) leaves no spans. */
  isOver = false
  /** The highest part seen. */
  parts = 0
  leftOut = 0
  #spans = 0

  constructor(span: TraceSpan) {
    this.span = span
  }

  /** Whether there may be one more span. */
  take(isFailure = false): boolean {
    if (this.#spans >= (isFailure ? MOST_SPANS : MOST_SPANS - FOR_FAILURES)) {
      this.leftOut++
      return false
    }
    this.#spans++
    return true
  }

  giveBack(): void {
    this.#spans--
  }
}

interface Scope {
  readonly run: RunSpan
  /** Of the run, or of the step in progress. */
  readonly span: TraceSpan
  /** Whether only what goes wrong leaves a span. */
  readonly isQuiet: boolean
  /** How often each request was made in this step. */
  readonly asked: Map<string, number>
}

/** The spans below all runs of a worker. */
export interface Spans {
  /** Calls `work` as the work of `run`. */
  of<Result>(run: RunSpan, work: () => Promise<Result>): Promise<Result>
  readonly within: NonNullable<StepObserver["within"]>
  readonly onExchange: ExchangeObserver
}

export function createSpans(): Spans {
  const scopes = new AsyncLocalStorage<Scope>()

  async function within<Result>(step: Step, work: () => Promise<Result>): Promise<Result> {
    const scope = scopes.getStore()
    if (scope === undefined || scope.run.isOver) return work()
    const { run } = scope
    const { part } = step
    run.parts = Math.max(run.parts, part ?? 0)
    const startedAt = performance.now()
    const begin = () => scope.span.begin(step.name, { startedAt, attributes: { "unseal.part": part } })
    const isQuiet = scope.isQuiet || (part !== undefined && !isTraced(part)) || !run.take()
    const span = isQuiet ? undefined : begin()
    try {
      const result = await scopes.run({ run, span: span ?? scope.span, isQuiet, asked: new Map() }, work)
      if (isMinor(step) && performance.now() - startedAt < WORTH_A_SPAN_MS) {
        // A span that does not end is not exported.
        if (span !== undefined) run.giveBack()
      } else span?.end()
      return result
    } catch (error) {
      const failed = span ?? (!run.isOver && run.take(true) ? begin() : undefined)
      failed?.fail(typeOf(error))
      failed?.end()
      throw error
    }
  }

  return {
    of: (run, work) => scopes.run({ run, span: run.span, isQuiet: false, asked: new Map() }, work),
    within,
    onExchange({ secure, host, port, method, target }) {
      const scope = scopes.getStore()
      if (scope === undefined || scope.run.isOver) return undefined
      const { run, asked } = scope
      const request = `${method} ${target}`
      const resends = asked.get(request) ?? 0
      asked.set(request, resends + 1)
      const startedAt = performance.now()
      const begin = () =>
        scope.span.begin(method, {
          kind: "client",
          startedAt,
          attributes: {
            "http.request.method": method,
            "server.address": host,
            "server.port": port,
            "url.scheme": secure ? "https" : "http",
            ...(resends > 0 && { "http.request.resend_count": resends }),
          },
        })
      let span = !scope.isQuiet && run.take() ? begin() : undefined
      let isEnded = false
      return (end) => {
        if (isEnded) return
        isEnded = true
        const failure = failureOf(end)
        const isRemarkable = failure !== undefined || resends > 0
        if (span === undefined && isRemarkable && !run.isOver && run.take(true)) span = begin()
        span?.set({ "http.response.status_code": end.status })
        if (failure !== undefined) span?.fail(failure)
        span?.end()
      }
    },
  }
}

const isMinor = ({ kind, part }: Step): boolean =>
  kind === "shared" || (kind === "once" && part !== undefined)

/** A missing object, and a condition that is not met, are answers to a question. Only the run knows whether they are failures. */
const ANSWERS = [404, 412]

function failureOf({ status, error }: ExchangeEnd): string | undefined {
  if (error !== undefined && error !== null) return typeOf(error)
  return status !== undefined && status >= 400 && !ANSWERS.includes(status) ? String(status) : undefined
}

/** The project's code of an error, else the system's, else its class. */
export function typeOf(error: unknown): string {
  if (isUnsealError(error)) return error.code
  const { code, name } = (error ?? {}) as { readonly code?: unknown; readonly name?: unknown }
  return typeof code === "string" ? code : typeof name === "string" ? name : typeof error
}
