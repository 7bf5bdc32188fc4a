import { flushCompileCache } from "node:module"
import { logConsole } from "./log/library-console.ts"
import { createLogger, type LogFormat, type Logger, setLogFormat } from "./log/logger.ts"
import { ConfigurationError } from "./settings/settings.ts"

/** The arguments of a process's `main`. */
export interface ProcessContext {
  /** Until `configureLog` is called, its level is `info`, and its form depends on where its lines go. */
  readonly logger: Logger
  /** Takes the settings of the log. */
  configureLog(settings: { readonly LOG_LEVEL: string; readonly LOG_FORMAT?: LogFormat | undefined }): void
  /** Ends the process with 1, after a last line that says why. */
  readonly fail: (error: unknown, message: string) => never
}

/** A process that has started. */
export interface Running {
  /** The ports that it listens on, by name. */
  readonly ports: Readonly<Record<string, number>>
  /** Finishes the work in progress, and then everything else. Called once. */
  stop(): Promise<void>
}

/** After this time a stop that hangs is given up. Shorter than the 10 s after which `docker stop` kills, so that a hanging stop is logged. */
export const STOP_TIMEOUT_MS = 8_000

/** One signal to a process group arrives several times: from the terminal, from npm, and from other forwarders. */
const SAME_SIGNAL_MS = 2_000

/**
 * Runs `main` as the process `name`. Logs one line `"msg":"listening"` with the ports once it resolves. SIGTERM, SIGINT or
 * SIGHUP stop the process. Exit codes: 0 stopped · 1 failed to start, an uncaught error, a second signal more than 2 s after the
 * first, or not stopped within 8 s · 2 a `ConfigurationError`, whose problems go to stderr, one per line.
 */
export async function runProcess(
  name: string,
  main: (context: ProcessContext) => Promise<Running>,
): Promise<void> {
  const logger = createLogger(name, "info")
  logConsole(logger)
  function fail(err: unknown, message: string): never {
    logger.fatal({ err }, message)
    process.exit(1)
  }
  function configureLog({ LOG_LEVEL, LOG_FORMAT }: Parameters<ProcessContext["configureLog"]>[0]): void {
    logger.level = LOG_LEVEL
    if (LOG_FORMAT !== undefined) setLogFormat(LOG_FORMAT)
  }
  process.on("uncaughtException", (error) => fail(error, "uncaught exception"))
  process.on("unhandledRejection", (reason) => fail(reason, "unhandled rejection"))

  const starting = Promise.resolve().then(() => main({ logger, configureLog, fail }))
  let stoppingSince: number | undefined
  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    if (stoppingSince !== undefined) {
      if (performance.now() - stoppingSince < SAME_SIGNAL_MS) return
      fail(new Error(`${signal} while stopping`), "killed by a second signal")
    }
    stoppingSince = performance.now()
    logger.info({ signal }, "stopping")
    setTimeout(
      () => fail(new Error(`not stopped within ${STOP_TIMEOUT_MS} ms`), "stop failed"),
      STOP_TIMEOUT_MS,
    )
    try {
      // A signal that arrives during the start waits for its end: half-open connections can't be closed in order.
      const running = await starting
      await running.stop()
      logger.info("stopped")
      process.exit(0)
    } catch (error) {
      fail(error, "stop failed")
    }
  }
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    // Removes the listener that apps/entry.mjs keeps for a container's first process until its main listens.
    process.removeAllListeners(signal)
    process.on(signal, stop)
  }

  try {
    const { ports } = await starting
    // Otherwise it is written only by an orderly end, which a killed process does not have (scripts/bootstrap.mjs).
    flushCompileCache()
    // The starter of the process waits for this line, whatever the log level is.
    logger.child({}, { level: "info" }).info({ ports }, "listening")
  } catch (error) {
    if (!(error instanceof ConfigurationError)) fail(error, "start failed")
    for (const problem of error.problems) process.stderr.write(`${problem}\n`)
    process.exit(2)
  }
}
