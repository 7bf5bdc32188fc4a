/**
 * Tracing, as the processes see it. Without OpenTelemetry's variables it is `undefined`, and nothing of OpenTelemetry is loaded:
 * whoever uses it costs nothing then.
 */
import type { Logger } from "../log/logger.ts"
import type { Environment } from "../settings/environment.ts"
import type { Tracing } from "./contract.ts"
import { readTracing } from "./settings.ts"

/** The tracing that `env` asks for; `undefined` if it asks for none. What is wrong with the variables is logged, and stops nothing. */
export async function startTracing(
  name: string,
  env: Environment,
  logger: Logger,
): Promise<Tracing | undefined> {
  const { settings, warnings } = readTracing(env)
  for (const warning of warnings) logger.warn({ warning }, "a setting of opentelemetry can't be used")
  if (settings === null) return undefined
  // It takes longer to load than the rest of a process that does not need it.
  const { createTracing } = await import("./sdk.ts")
  return createTracing(name, settings, logger)
}
