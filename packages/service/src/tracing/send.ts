/** Producer spans: a job on its way into the queue. */
import type { TraceContext, Tracing } from "./contract.ts"

interface SentJob {
  readonly jobId: string
  readonly projectId: string
  readonly archiveId: string
  readonly parent?: TraceContext
  readonly link?: TraceContext
}

/** What names a message of `queue` by the semantic conventions for messaging. */
export const messageAttributes = (
  queue: string,
  operation: "send" | "process",
  { jobId, projectId, archiveId }: Readonly<Partial<Record<"jobId" | "projectId" | "archiveId", string>>>,
) => ({
  "messaging.system": "bullmq",
  "messaging.operation.type": operation,
  "messaging.operation.name": operation,
  "messaging.destination.name": queue,
  "messaging.message.id": jobId,
  "unseal.project.id": projectId,
  "unseal.archive.id": archiveId,
})

/** Surrounds each enqueueing with a span, whose context the job carries. */
export function createSendTracer(tracing: Tracing, queue: string) {
  return async <Result extends object | null>(
    job: SentJob,
    send: (context: TraceContext) => Promise<Result>,
  ): Promise<Result> => {
    const { parent, link } = job
    const span = tracing.begin(`send ${queue}`, {
      kind: "producer",
      attributes: messageAttributes(queue, "send", job),
      ...(parent && { parent }),
      ...(link && { links: [link] }),
    })
    try {
      const result = await send(span.context)
      if (result !== null && "outcome" in result) span.set({ "unseal.outcome": String(result.outcome) })
      return result
    } catch (error) {
      // Its message may quote a command.
      span.fail(error instanceof Error ? error.name : typeof error)
      throw error
    } finally {
      span.end()
    }
  }
}
