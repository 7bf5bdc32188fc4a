import { type IngestProject, type Projects, readProjects } from "@unseal/service/projects"
import {
  type Environment,
  flag,
  integer,
  logLevel,
  milliseconds,
  port,
  readSettings,
  readTogether,
  text,
  url,
} from "@unseal/service/settings"
import { z } from "zod"

const schema = z.object({
  REDIS_URL: url(["redis", "rediss"]),
  LOG_LEVEL: logLevel(),
  UNSEAL_QUEUE: text(),
  UNSEAL_HOST: text(),
  UNSEAL_PORT: port(),
  UNSEAL_ADMIN_PORT: port(),
  UNSEAL_ATTEMPTS: integer({ min: 1, max: 1_000 }),
  UNSEAL_CALLBACK_MAX_AGE_MS: milliseconds({ min: 60_000 }),
  // Read with the projects; here it is checked for its form.
  UNSEAL_ALLOW_UNAUTHENTICATED: flag(),
})

export interface Config extends z.output<typeof schema> {
  readonly projects: Projects<IngestProject>
}

/** Throws `ConfigurationError` with every problem. */
export function readConfig(env: Environment = process.env): Config {
  const [settings, projects] = readTogether(
    () => readSettings("ingest", schema, env),
    () => readProjects({ for: "ingest", env }),
  )
  return { ...settings, projects }
}
