import { trustProxies } from "@unseal/service/http/networks"
import type { IngestProject } from "@unseal/service/projects/projects"
import { openProjects, type ReloadingProjects } from "@unseal/service/projects/reloading"
import { REDIS_SETTINGS } from "@unseal/service/redis/settings"
import {
  choice,
  type Environment,
  flag,
  integer,
  logFormat,
  logLevel,
  milliseconds,
  networks,
  port,
  readSettings,
  readTogether,
  text,
} from "@unseal/service/settings/settings"
import { z } from "zod"

/** Exported for the documentation as well. */
export const schema = z.object({
  ...REDIS_SETTINGS,
  LOG_LEVEL: logLevel(),
  LOG_FORMAT: logFormat(),
  UNSEAL_QUEUE: text("a name"),
  UNSEAL_REDIS_DURABILITY: choice(["require", "warn"]),
  UNSEAL_REDIS_REPLICAS: integer({ min: 0, max: 5 }),
  UNSEAL_HOST: text("an address or a name").optional(),
  UNSEAL_PORT: port(),
  UNSEAL_ADMIN_PORT: port(),
  UNSEAL_METRICS_PROJECT_LABEL: flag(),
  UNSEAL_CALLBACK_MAX_AGE_MS: milliseconds({ min: 60_000 }),
  UNSEAL_CALLBACK_NETWORKS: networks().optional(),
  UNSEAL_TRUSTED_PROXIES: networks().transform(trustProxies).optional(),
  // It is read with the projects. Here only its form is checked.
  UNSEAL_ALLOW_UNAUTHENTICATED: flag(),
})

export interface Config extends z.output<typeof schema> {
  readonly projects: ReloadingProjects<IngestProject>
}

/** The environment, for tracing, whose variables keep their own names. */
export const env: Environment = process.env

/** Throws `ConfigurationError` with every problem. */
export function readConfig(env: Environment = process.env): Config {
  const [settings, projects] = readTogether(
    () => readSettings("ingest", schema, env),
    () => openProjects({ for: "ingest", env }),
  )
  return { ...settings, projects }
}
