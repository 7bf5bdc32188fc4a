/** The span of one callback. It begins with the request, and the job continues it. */
import type { IncomingHttpHeaders } from "node:http"
import type { TraceContext, TraceSpan, Tracing } from "@unseal/service/tracing/contract"
import type { Settled } from "./outcome.ts"

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/
const TRACESTATE = /^[\x20-\x7e]{1,512}$/

/** The W3C Trace Context of a request; `undefined` if it has none, or a malformed one. */
export function contextOf({ traceparent, tracestate }: IncomingHttpHeaders): TraceContext | undefined {
  if (typeof traceparent !== "string" || !TRACEPARENT.test(traceparent)) return undefined
  return {
    traceparent,
    ...(typeof tracestate === "string" && TRACESTATE.test(tracestate) && { tracestate }),
  }
}

/** One callback's trace, with its request's own context if it is to be continued. */
export class CallbackTrace {
  readonly #tracing: Tracing | undefined
  readonly #startedAt = performance.now()
  readonly #route: string
  #span: TraceSpan | undefined
  #given: TraceContext | undefined

  constructor(tracing: Tracing | undefined, route: string) {
    this.#tracing = tracing
    this.#route = route
  }

  /**
   * Continues the trace of `headers`, now that their sender is known. Anyone can send a `traceparent`: a stranger's would join others'
   * traces, and would have them exported.
   */
  accept(headers: IncomingHttpHeaders): void {
    const given = contextOf(headers)
    if (this.#tracing === undefined) this.#given = given
    else this.#begin(this.#tracing, this.#tracing.continues ? given : undefined)
  }

  /** What the job is to carry. */
  get context(): TraceContext | undefined {
    return this.#span?.context ?? this.#given
  }

  /** 32 hex digits, if there is a trace. */
  get traceId(): string | undefined {
    return this.context?.traceparent.slice(3, 35)
  }

  /** The same, if the trace is exported: what an exemplar may lead to. */
  get exportedId(): string | undefined {
    return this.#span?.sampled ? this.#span.traceId : undefined
  }

  /** Ends the span with the callback. `status` is that of the answer, if it was sent. */
  end(
    { outcome, archiveId }: Partial<Settled>,
    projectId: string | undefined,
    status: number | undefined,
  ): void {
    if (this.#tracing === undefined) return
    const span = this.#span ?? this.#begin(this.#tracing, undefined)
    span.set({
      "http.response.status_code": status,
      "unseal.outcome": outcome,
      "unseal.project.id": projectId,
      "unseal.archive.id": archiveId,
    })
    // For a server, what its clients do wrong is no failure.
    if (status === undefined || status >= 500) span.fail(outcome ?? "failed")
    span.end()
  }

  #begin(tracing: Tracing, parent: TraceContext | undefined): TraceSpan {
    this.#span = tracing.begin(`POST ${this.#route}`, {
      kind: "server",
      startedAt: this.#startedAt,
      parent,
      attributes: { "http.request.method": "POST", "http.route": this.#route, "url.scheme": "http" },
    })
    return this.#span
  }
}
