/** The spans of runs. Each run of a job, whichever attempt it is, is a consumer span in the trace of the job's callback. */
import { contextIn } from "@unseal/queue/enqueue/trace"
import type { JobPayload } from "@unseal/queue/jobs/job"
import type { EndedRun, JobContext } from "@unseal/queue/run/consumer"
import type { TraceSpan, Tracing } from "@unseal/service/tracing/contract"
import { messageAttributes } from "@unseal/service/tracing/send"
import type { JobResult } from "../run/job-result.ts"
import { createSpans, RunSpan, type Spans } from "./spans.ts"

type Run = (payload: JobPayload, context: JobContext) => Promise<JobResult>

/** The traces of a worker's runs. A run is known by its payload, which each run parses anew. */
export interface RunTraces extends Partial<Pick<Spans, "within" | "onExchange">> {
  /** Surrounds `run` with its span. */
  surround(run: Run): Run
  /** Ends the span of a run, or makes one for a job that became a dead letter without a run. */
  ended(run: EndedRun<JobResult>): void
  /** The trace of a run: 32 hex digits, or `undefined` if it has none. */
  traceIdOf(payload: JobPayload | undefined): string | undefined
  /** The same, if the trace is exported: what an exemplar may lead to. */
  exportedIdOf(payload: JobPayload | undefined): string | undefined
}

/** Without `tracing` it costs nothing, and knows only the traces of the callbacks. */
export function createRunTraces(tracing: Tracing | undefined, queue: string): RunTraces {
  const idIn = (payload: JobPayload | undefined) => payload?.traceparent?.slice(3, 35)
  if (tracing === undefined)
    return { surround: (run) => run, ended() {}, traceIdOf: idIn, exportedIdOf: () => undefined }

  const spans = createSpans()
  const runs = new WeakMap<JobPayload, RunSpan>()

  function begin(
    payload: JobPayload | undefined,
    {
      jobId,
      attempt,
      starts,
    }: { readonly jobId: string; readonly attempt: number; readonly starts?: number },
    startedAt?: number,
  ): TraceSpan {
    const parent = payload && contextIn(payload)
    const { tracelink } = payload ?? {}
    return tracing!.begin(`process ${queue}`, {
      kind: "consumer",
      // A process span always links to what created its message, even below it.
      links: [...(parent ? [parent] : []), ...(tracelink === undefined ? [] : [{ traceparent: tracelink }])],
      ...(parent && { parent }),
      ...(startedAt !== undefined && { startedAt }),
      attributes: {
        ...messageAttributes(queue, "process", { ...payload, jobId }),
        "unseal.attempt": attempt,
        "unseal.starts": starts,
      },
    })
  }

  return {
    surround: (run) => (payload, context) => {
      const traced = new RunSpan(begin(payload, context))
      runs.set(payload, traced)
      return traced.span.sampled ? spans.of(traced, () => run(payload, context)) : run(payload, context)
    },
    within: spans.within,
    onExchange: spans.onExchange,
    ended(run) {
      const { payload, ending, durationMs } = run
      const known = payload && runs.get(payload)
      if (known === undefined && ending.kind !== "dead-letter") return
      const span = known?.span ?? begin(payload, run, performance.now() - durationMs)
      span.set({
        ...outcomeOf(ending),
        "unseal.parts": known?.parts || undefined,
        "unseal.spans.left_out": known?.leftOut || undefined,
      })
      if (ending.kind === "dead-letter" || ending.kind === "retry" || ending.kind === "suspended")
        // Its reason names objects. The log has it, under this trace's id.
        span.fail(ending.code)
      span.end()
      if (known !== undefined) known.isOver = true
    },
    traceIdOf: (payload) => (payload && runs.get(payload)?.span.traceId) ?? idIn(payload),
    exportedIdOf(payload) {
      const span = payload && runs.get(payload)?.span
      return span?.sampled ? span.traceId : undefined
    },
  }
}

function outcomeOf(ending: EndedRun<JobResult>["ending"]) {
  if (ending.kind !== "committed")
    return { "unseal.outcome": ending.kind, ...("side" in ending && { "unseal.side": ending.side }) }
  const { outcome, size } = ending.result
  return { "unseal.outcome": outcome, "unseal.archive.size": size }
}
