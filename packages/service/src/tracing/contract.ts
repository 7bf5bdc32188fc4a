/** Traces, as the processes see them. OpenTelemetry is behind this (sdk.ts). */

/** W3C Trace Context, as it travels in headers and in jobs. */
export interface TraceContext {
  readonly traceparent: string
  readonly tracestate?: string
}

/** `undefined` is left out. */
export type Attributes = Readonly<Record<string, string | number | boolean | undefined>>

export interface SpanOptions {
  /** Default `internal`. */
  readonly kind?: "server" | "client" | "producer" | "consumer"
  readonly attributes?: Attributes
  /** The span of another process that this one continues. A context that is not valid counts as none. */
  readonly parent?: TraceContext | undefined
  /** Spans that are related to this one, in any trace. */
  readonly links?: readonly TraceContext[]
  /** When it began, as `performance.now` had it. Default: now. */
  readonly startedAt?: number
}

/** A span in progress. It is exported when it has ended, unless its trace is not sampled. */
export interface TraceSpan {
  readonly context: TraceContext
  /** 32 hex digits. */
  readonly traceId: string
  /** 16 hex digits. */
  readonly spanId: string
  /** Whether the trace is exported. */
  readonly sampled: boolean
  /** Begins a span below this one. */
  begin(name: string, options?: SpanOptions): TraceSpan
  set(attributes: Attributes): void
  /** Marks it as failed. `type` is one of a closed set: a code, a status. A message is in the log. */
  fail(type: string): void
  /** Ends it, now. Called once. */
  end(): void
}

export interface Tracing {
  /** Whether a callback's own `traceparent` is continued. */
  readonly continues: boolean
  /** Begins a span that continues `options.parent`, or a trace of its own. */
  begin(name: string, options?: SpanOptions): TraceSpan
  /** Sends what has ended. Resolves within 2 s, even if the collector does not answer. */
  close(): Promise<void>
}
