/** What libraries print by themselves, where nobody reads it and no log parser understands it. */
import { withoutQueries } from "./error-serializer.ts"
import type { Logger } from "./logger.ts"

/** How many texts are remembered to log each once. ioredis repeats its advice at every connection. */
const MAX_TEXTS = 100

/**
 * Turns `console.warn` and `console.error` into lines of `logger`, each text once. Drops objects, because they may hold what was
 * sent to Redis. Keeps of an error what the log always keeps.
 */
export function logConsole(logger: Pick<Logger, "warn">): void {
  const said = new Set<string>()
  const say = (...printed: unknown[]): void => {
    const err = printed.find((value) => value instanceof Error)
    const text = withoutQueries(printed.filter((value) => typeof value === "string").join(" "))
    const kind = `${text} ${err}`
    if (said.has(kind) || said.size >= MAX_TEXTS) return
    said.add(kind)
    logger.warn({ ...(text !== "" && { text }), ...(err && { err }) }, "a library printed a warning")
  }
  console.warn = say
  console.error = say
}
