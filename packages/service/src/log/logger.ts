import { type DestinationStream, type Logger, pino, stdTimeFunctions } from "pino"
import { VERSION } from "../version.ts"
import { serializeError } from "./error-serializer.ts"
import { redact } from "./redact.ts"
import { painted, textOf } from "./text.ts"

export type { Logger } from "pino"

/**
 * A logger that writes one JSON object per line to `destination`, or to stdout in the form that `setLogFormat` says: ISO time, process name, version. Secrets become
 * `[redacted]`. Errors keep type, code, message, stack and causes. The bindings of a `child` are not checked.
 */
export function createLogger(name: string, level: string, destination?: DestinationStream): Logger {
  const options = {
    level,
    base: { name, version: VERSION },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }), log: redact },
    serializers: { err: serializeError },
  }
  if (destination === undefined) standardOutput ??= openStandardOutput()
  return pino(options, destination ?? standardOutput)
}

/** What lines on standard output look like. */
export type LogFormat = "json" | "text"

let format: LogFormat = process.stdout.isTTY ? "text" : "json"

/** Sets the form of all lines on standard output from now on. By default it is text on a terminal, and JSON elsewhere. */
export function setLogFormat(to: LogFormat): void {
  format = to
}

let standardOutput: DestinationStream | undefined

/**
 * Writes the lines of one turn of the event loop together, even when the process exits, unless a signal or an abort ends it. (In
 * that case pino's own background writes come out of order, or not at all.)
 */
function openStandardOutput(): DestinationStream {
  const output = pino.destination({ fd: 1, sync: true })
  let lines = ""
  function flush(): void {
    const text = lines
    lines = ""
    if (text !== "") output.write(text)
  }
  process.on("exit", flush)
  return {
    write(line) {
      if (lines === "") setImmediate(flush)
      lines += format === "text" ? textOf(line, painted) : line
    },
  }
}

/** Writes a line of `kind`, unless there were enough of that kind in this second. */
export type RateLimitedLog = (
  level: "info" | "warn" | "error",
  kind: string,
  fields: object,
  message: string,
) => void

/** How many kinds are counted separately. They come from closed sets; the bound only limits the effect of a mistake. */
const MAX_KINDS = 100

/**
 * Limits each kind (an error code, an outcome) to `perSecond` lines a second. The first line after a pause has the number of lines
 * left out as `suppressed`.
 */
export function rateLimited(logger: Logger, perSecond: number, now: () => number = Date.now): RateLimitedLog {
  const windows = new Map<string, { second: number; lines: number; suppressed: number }>()
  return (level, kind, fields, message) => {
    const name = windows.has(kind) || windows.size < MAX_KINDS ? kind : "other"
    const window = windows.get(name) ?? { second: -1, lines: 0, suppressed: 0 }
    windows.set(name, window)
    const second = Math.floor(now() / 1000)
    if (second !== window.second) Object.assign(window, { second, lines: 0 })
    if (window.lines >= perSecond) {
      window.suppressed++
      return
    }
    window.lines++
    logger[level](window.suppressed > 0 ? { ...fields, suppressed: window.suppressed } : fields, message)
    window.suppressed = 0
  }
}
