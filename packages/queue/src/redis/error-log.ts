/** The part of a logger that the queue uses. pino's has it. */
export interface QueueLogger {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/**
 * Logs the first error of a class at once, and repetitions once per `intervalMs` with their number: a Redis in trouble causes a
 * thousand a second.
 */
export function createErrorLog(logger: QueueLogger | undefined, intervalMs = 5_000) {
  const classes = new Map<string, { since: number; suppressed: number }>()
  return (error: unknown, message: string): void => {
    const { code, name, message: reason } = error as { code?: unknown; name?: unknown; message?: unknown }
    // Redis's own errors begin with their class: OOM, READONLY, LOADING, …
    const kind = String(code ?? String(reason).match(/^[A-Z]{3,}\b/)?.[0] ?? name)
    const seen = classes.get(kind)
    const now = Date.now()
    if (seen && now - seen.since < intervalMs) {
      seen.suppressed++
      return
    }
    // There are few classes. The bound keeps strange ones from growing the map.
    if (classes.size > 100) classes.clear()
    classes.set(kind, { since: now, suppressed: 0 })
    logger?.error({ err: error, class: kind, suppressed: seen?.suppressed ?? 0 }, message)
  }
}
