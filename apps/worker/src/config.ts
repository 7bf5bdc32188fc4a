import { type KeyRingSchemes, keyRingProblem } from "@unseal/archive/keys/open"
import { proxyProblems } from "@unseal/archive/store/http/proxy"
import { parseHostList } from "@unseal/archive/store/https/allowed-hosts"
import { parseStoreUrl, StoreUrlError } from "@unseal/archive/store/url"
import type { WorkerProject } from "@unseal/service/projects/projects"
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
  parsed,
  port,
  readSettings,
  readTogether,
  text,
} from "@unseal/service/settings/settings"
import { z } from "zod"
import { openVendorProjects, type VendorProjects } from "./watch/vendor-projects.ts"

const hostList = () =>
  parsed("`host`, `*.domain` or addresses, separated by commas, or `none`", (value) =>
    parseHostList(value === "none" ? "" : value),
  )

/** Exported for the documentation as well. */
export const schema = z.object({
  ...REDIS_SETTINGS,
  LOG_LEVEL: logLevel(),
  LOG_FORMAT: logFormat(),
  UNSEAL_QUEUE: text("a name"),
  UNSEAL_REDIS_DURABILITY: choice(["require", "warn"]),
  UNSEAL_HOST: text("an address or a name").optional(),
  UNSEAL_ADMIN_PORT: port(),
  UNSEAL_METRICS_PROJECT_LABEL: flag(),
  UNSEAL_CONCURRENCY: integer({ min: 1, max: 1_000 }),
  UNSEAL_PARTS_IN_FLIGHT: integer({ min: 1, max: 10_000 }),
  // Smaller parts cost more in requests than in bytes. Larger ones would not fit in a request of any store.
  UNSEAL_PART_SIZE_BYTES: integer({ min: 65_536, max: 2 ** 30, unit: "bytes" }),
  UNSEAL_LOCK_MS: milliseconds({ min: 1_000 }),
  UNSEAL_STALL_CHECK_MS: milliseconds({ min: 100 }),
  UNSEAL_ATTEMPTS: integer({ min: 1, max: 1_000 }),
  UNSEAL_SUSPEND_MAX_MS: milliseconds({ min: 1_000 }),
  UNSEAL_BULK_SHARE: integer({ min: 0, max: 50, unit: "percent" }),
  UNSEAL_TAIL: choice(["keep", "trim"]),
  UNSEAL_OAEP_HASH: choice(["sha1", "sha256", "sha384", "sha512"]),
  UNSEAL_DIGEST: choice(["sha256", "none"]),
  UNSEAL_ANNOUNCED_DIGEST: choice(["record", "require"]),
  UNSEAL_ANNOUNCED_SIZE: choice(["record", "require"]),
  UNSEAL_MAX_DAMAGE: integer({ min: 0, max: 100, unit: "percent" }),
  UNSEAL_VERIFY: choice(["size", "content"]),
  UNSEAL_EXISTING: choice(["fail", "replace"]),
  UNSEAL_FALLBACK_HOSTS: hostList(),
  UNSEAL_BACKFILL_FEED: flag(),
  UNSEAL_BACKFILL_WINDOW: integer({ min: 1, max: 1_000_000 }),
})

export type Settings = z.output<typeof schema>

export interface Config {
  readonly settings: Settings
  readonly projects: ReloadingProjects<WorkerProject>
  readonly vendors: VendorProjects
  /** For the stores. The SDKs read their own names themselves. */
  readonly env: Environment
}

/** Throws `ConfigurationError` with every problem. `schemes` replace the built-in ones of key rings. */
export function readConfig(env: Environment = process.env, schemes?: KeyRingSchemes): Config {
  const [settings, [projects, vendors]] = readTogether(
    () => readSettings("worker", schema, env),
    () => {
      const check = (all: readonly WorkerProject[]) => [...proxyProblems(env), ...urlProblems(all, schemes)]
      const projects = openProjects({ for: "worker", env, check })
      return [projects, openVendorProjects(projects, env)] as const
    },
  )
  return { settings, projects, vendors, env }
}

/** Stores and keys are opened when the first archive arrives, but their URLs are checked before anything is connected. */
function urlProblems(projects: readonly WorkerProject[], schemes?: KeyRingSchemes): readonly string[] {
  const problems: string[] = []
  for (const { id, source, destination, keys } of projects) {
    const problem = keyRingProblem(keys, schemes)
    if (problem !== null) problems.push(`key ring of project ${id} ${problem}`)
    for (const [name, url] of [
      ["source", source],
      ["destination", destination],
    ] as const)
      try {
        parseStoreUrl(url, name)
      } catch (error) {
        if (!(error instanceof StoreUrlError)) throw error
        problems.push(`${name} of project ${id}: ${error.message}`)
      }
  }
  return problems
}
