/** The trace of a job: what it carries through the queue, and where a tracer surrounds its way into it. The queue knows no tracer. */
import type { JobPayload } from "../jobs/job.ts"
import type { NewJob } from "./enqueue-script.ts"

/** W3C Trace Context. */
export interface TraceContext {
  readonly traceparent: string
  readonly tracestate?: string
}

/** A job that is about to be enqueued. */
export interface SentJob {
  readonly jobId: string
  readonly projectId: string
  readonly archiveId: string
  /** What asked for it. Without it, the job begins a trace of its own. */
  readonly parent?: TraceContext
  /** Its life before a redrive. */
  readonly link?: TraceContext
}

/** Calls `send` once with the context that the job is to carry, and settles as it does. */
export type SendTracer = <Result extends object | null>(
  job: SentJob,
  send: (context: TraceContext) => Promise<Result>,
) => Promise<Result>

/** The context in `payload`, which may be that of any version; `undefined` without one. */
export function contextIn({
  traceparent,
  tracestate,
}: { readonly [Field in keyof TraceContext | "projectId"]?: unknown }): TraceContext | undefined {
  if (typeof traceparent !== "string") return undefined
  return { traceparent, ...(typeof tracestate === "string" && { tracestate }) }
}

/** `payload` with `context` in place of its own. */
export function carrying(payload: JobPayload, context: TraceContext): JobPayload {
  const { traceparent: _, tracestate: __, ...rest } = payload
  return { ...rest, ...context }
}

/** The payload of a redriven job: its trace has ended with the dead letter, and the new one is linked with it. */
export function redriven({
  traceparent,
  tracestate: _,
  ...rest
}: Readonly<Record<string, unknown>>): { readonly [field: string]: unknown } & NewJob["payload"] {
  return { ...rest, ...(traceparent !== undefined && { tracelink: traceparent }) }
}
