/** Spans on their way to the collector, after they have ended. */
import type { ReadableSpan, SpanExporter, SpanProcessor } from "@opentelemetry/sdk-trace"
import type { Logger } from "../log/logger.ts"

/** While spans are lost, one line says so this often. */
const TOLD_EVERY_MS = 300_000

/** `ExportResultCode.SUCCESS`: a constant of a package that is not loaded here. */
const SUCCESS = 0

/**
 * Counts lost spans: those that the collector refused or did not answer for, and those that found the queue full. One log line
 * reports the first loss, and another the end of the trouble. `make` gets the exporter that the batches must go through.
 */
export function countingLosses(
  exporter: SpanExporter,
  maxQueueSize: number,
  make: (exporter: SpanExporter) => SpanProcessor,
  logger: Pick<Logger, "warn" | "info">,
  now: () => number = () => performance.now(),
): SpanProcessor & { /** Spans that have ended and were not exported yet. */ readonly waiting: number } {
  let queued = 0
  let sending = 0
  let lost = 0
  let toldAt: number | undefined

  function lose(spans: number, reason: string, err?: unknown): void {
    lost += spans
    if (toldAt !== undefined && now() - toldAt < TOLD_EVERY_MS) return
    toldAt = now()
    logger.warn({ lost, reason, ...(err === undefined ? {} : { err }) }, "spans are lost")
  }

  function exported(): void {
    if (toldAt === undefined) return
    logger.info({ lost }, "spans are exported again")
    toldAt = undefined
    lost = 0
  }

  const inner = make({
    export(spans: ReadableSpan[], done) {
      queued -= spans.length
      sending += spans.length
      exporter.export(spans, ({ code, error }) => {
        sending -= spans.length
        if (code === SUCCESS) exported()
        else lose(spans.length, "the collector did not take them", error)
        // Nobody else needs to know: the processor would only print it.
        done({ code: SUCCESS })
      })
    },
    shutdown: () => exporter.shutdown(),
    ...(exporter.forceFlush && { forceFlush: () => exporter.forceFlush!() }),
  })
  return {
    get waiting() {
      return queued + sending
    },
    onStart: (span, parent) => inner.onStart(span, parent),
    onEnd(span) {
      // The processor drops it, and tells nobody.
      if (queued >= maxQueueSize) return lose(1, "more spans end than the collector takes")
      queued++
      inner.onEnd(span)
    },
    forceFlush: () => inner.forceFlush(),
    shutdown: () => inner.shutdown(),
  }
}
