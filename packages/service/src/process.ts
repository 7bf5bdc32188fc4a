import { flushCompileCache } from "node:module"
import { logConsole } from "./library-console.ts"
import { createLogger, type Logger } from "./logger.ts"
import { ConfigurationError } from "./settings.ts"

/** What a process's `main` is given. */
export interface ProcessContext {
  /** At level `info` until `main` sets its `level` to the configured one. */
  readonly logger: Logger
  /** Ends the process with 1, after a last line that says why. */
  readonly fail: (error: unknown, message: string) => never
}

/** A process that has started. */
export interface Running {
  /** The ports it listens on, by name. */
  readonly ports: Readonly<Record<string, number>>
  /** Ends the work in hand, and then everything else. Called once. */
  stop(): Promise<void>
}

/** Shorter than the 10 s after which `docker stop` kills, so that a stop that hangs is logged. */
const STOP_TIMEOUT_MS = 8_000

/** One signal to a process group arrives several times: from the terminal, from npm and from whatever else passes it on. */
const SAME_SIGNAL_MS = 2_000

/**
 * Runs `main` as the process `name`: one JSON line `"msg":"listening"` with the ports once it resolves, then until SIGTERM,
 * SIGINT or SIGHUP, which stop it. Exit codes: 0 stopped · 1 failed to start, an error that nobody caught, a second signal
 * later than 2 s after the first, or not stopped within 8 s · 2 a `ConfigurationError`, whose problems go to stderr, one a
 * line.
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
  process.on("uncaughtException", (error) => fail(error, "uncaught exception"))
  process.on("unhandledRejection", (reason) => fail(reason, "unhandled rejection"))

  const starting = Promise.resolve().then(() => main({ logger, fail }))
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
      // A signal that comes while the process starts waits for that: half-open connections can't be closed in order.
      const running = await starting
      await running.stop()
      logger.info("stopped")
      process.exit(0)
    } catch (error) {
      fail(error, "stop failed")
    }
  }
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, stop)

  try {
    const { ports } = await starting
    // Else it would be written when the process ends in order, which one that is killed does not (scripts/bootstrap.mjs).
    flushCompileCache()
    // Whoever started the process waits for this line, whatever its log level is.
    logger.child({}, { level: "info" }).info({ ports }, "listening")
  } catch (error) {
    if (!(error instanceof ConfigurationError)) fail(error, "start failed")
    for (const problem of error.problems) process.stderr.write(`${problem}\n`)
    process.exit(2)
  }
}
