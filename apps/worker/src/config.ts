import { parseStoreUrl, StoreUrlError } from "@unseal/archive/store/url"
import { readProjects, type WorkerProject } from "@unseal/service/projects"
import {
  ConfigurationError,
  choice,
  type Environment,
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
  UNSEAL_ADMIN_PORT: port(),
  UNSEAL_CONCURRENCY: integer({ min: 1, max: 1_000 }),
  UNSEAL_PARTS_IN_FLIGHT: integer({ min: 1, max: 10_000 }),
  // Below, a request costs more than the bytes it moves; above, one part would not fit in a request of any store.
  UNSEAL_PART_SIZE_BYTES: integer({ min: 65_536, max: 2 ** 30 }),
  UNSEAL_LOCK_MS: milliseconds({ min: 1_000 }),
  UNSEAL_STALL_CHECK_MS: milliseconds({ min: 100 }),
  UNSEAL_ATTEMPTS: integer({ min: 1, max: 1_000 }),
  UNSEAL_TAIL: choice(["keep", "trim"]),
  UNSEAL_OAEP_HASH: choice(["sha1", "sha256", "sha384", "sha512"]),
  UNSEAL_DIGEST: choice(["sha256", "none"]),
  UNSEAL_ANNOUNCED_DIGEST: choice(["record", "require"]),
  UNSEAL_EXISTING: choice(["fail", "replace"]),
})

export type Settings = z.output<typeof schema>

export interface Config {
  readonly settings: Settings
  readonly projects: { get(id: string): WorkerProject | undefined; readonly ids: readonly string[] }
  /** For the stores: the SDKs' own names are theirs to read. */
  readonly env: Environment
}

/** Throws `ConfigurationError` with every problem. */
export function readConfig(env: Environment = process.env): Config {
  const [settings, projects] = readTogether(
    () => readSettings("worker", schema, env),
    () => {
      const projects = readProjects({ for: "worker", env })
      checkStoreUrls(projects.ids.map((id) => projects.get(id)!))
      return projects
    },
  )
  return { settings, projects, env }
}

/** A store is opened when its first archive arrives; its URL is judged before anything is connected. */
function checkStoreUrls(projects: readonly WorkerProject[]): void {
  const problems: string[] = []
  for (const { id, source, destination } of projects)
    for (const [name, url] of Object.entries({ source, destination }))
      try {
        parseStoreUrl(url)
      } catch (error) {
        if (!(error instanceof StoreUrlError)) throw error
        problems.push(`${name} of project ${id}: ${error.message}`)
      }
  if (problems.length > 0) throw new ConfigurationError(problems)
}
