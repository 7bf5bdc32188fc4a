import { parseProjects } from "@unseal/service/projects/parse"
import { readProjects } from "@unseal/service/projects/projects"
import { REDIS_SETTINGS } from "@unseal/service/redis/settings"
import {
  ConfigurationError,
  choice,
  type Environment,
  integer,
  readSettings,
  readTogether,
  text,
} from "@unseal/service/settings/settings"
import { z } from "zod"

/** The environment, for the names of stores and SDKs. */
export const env: Environment = process.env

const archiveSchema = z.object({
  UNSEAL_TAIL: choice(["keep", "trim"]),
  UNSEAL_OAEP_HASH: choice(["sha1", "sha256", "sha384", "sha512"]),
  UNSEAL_ANNOUNCED_SIZE: choice(["record", "require"]),
  UNSEAL_VERIFY: choice(["size", "content"]),
  UNSEAL_MAX_DAMAGE: integer({ min: 0, max: 100, unit: "percent" }),
  UNSEAL_KEYS: text("a path or a URL").optional(),
})
const fallbackSchema = z.object({ UNSEAL_FALLBACK_WORD: text("a word").optional() })
const queueSchema = z.object({
  ...REDIS_SETTINGS,
  UNSEAL_QUEUE: text("a name"),
  UNSEAL_REDIS_REPLICAS: integer({ min: 0, max: 5 }),
})

const doctorSchema = z.object({
  ...queueSchema.shape,
  UNSEAL_REDIS_DURABILITY: choice(["require", "warn"]),
  UNSEAL_OAEP_HASH: archiveSchema.shape.UNSEAL_OAEP_HASH,
})

/** All settings that the commands read, for the documents. */
export const schema = z.object({
  ...archiveSchema.shape,
  ...fallbackSchema.shape,
  ...queueSchema.shape,
  ...doctorSchema.shape,
})

/** The settings of a command for one archive. Throws `ConfigurationError`. */
export const readArchiveSettings = () => readSettings("cli", archiveSchema, env)

/**
 * The projects of a command that uses the vendor's REST API. `given` has options in place of a single project's variables. Throws
 * `ConfigurationError`.
 */
export function readVendorSettings(given: Environment) {
  const [settings, projects] = readTogether(
    () => readSettings("cli", fallbackSchema, env),
    () => readProjects({ for: "vendor", env: { ...env, ...given } }),
  )
  return { settings, projects }
}

/** The settings of a command for the queue. Throws `ConfigurationError`. */
export const readQueueSettings = () => readSettings("cli", queueSchema, env)

/**
 * The settings of a command that compares the vendor with the queue and all projects' destinations. Throws `ConfigurationError`.
 */
export function readReconcileSettings() {
  const [{ settings, projects }, vendors] = readTogether(readDestinationSettings, () =>
    readProjects({ for: "vendor", env }),
  )
  return { settings, projects, vendors }
}

/**
 * The projects of a command that only looks, with the available settings of their stores and of the REST API; `null` without any
 * project. `given` has options in place of a single project's variables. Throws `ConfigurationError`.
 */
export function readShownProjects(given: Environment) {
  const all = { ...env, ...given }
  if (!all.UNSEAL_PROJECTS_FILE && !all.UNSEAL_PROJECT_ID) return null
  const [projects, vendors] = readTogether(
    () => readProjects({ for: "stores", env: all }),
    () => readProjects({ for: "vendor", env: all }),
  )
  return { projects, vendors }
}

/**
 * The settings of a command that compares a manifest with the queue and all projects' stores, or takes it from the vendor. Throws
 * `ConfigurationError`.
 */
export function readPlanSettings() {
  const [settings, [projects, vendors]] = readTogether(readQueueSettings, () =>
    readTogether(
      () => readProjects({ for: "stores", env }),
      () => readProjects({ for: "vendor", env }),
    ),
  )
  return { settings, projects, vendors }
}

/** The settings of a command for the queue and all projects' destinations. Throws `ConfigurationError`. */
export function readDestinationSettings() {
  const [settings, projects] = readTogether(readQueueSettings, () =>
    readProjects({ for: "destination", env }),
  )
  return { settings, projects }
}

/**
 * What `unseal doctor` looks at: everything in the environment that can be used. The processes' own code says what can't be used.
 * The settings for Redis are an error if they can't be used.
 */
export function readDoctorSettings() {
  // Only these: a wrong setting elsewhere must not keep Redis from being checked.
  const names = Object.keys(doctorSchema.shape).flatMap((name) => [name, `${name}_FILE`])
  const own = Object.fromEntries(names.flatMap((name) => (env[name] ? [[name, env[name]]] : [])))
  return {
    settings: resultOf(() => readSettings("cli", doctorSchema, own)),
    projects: parseProjects("worker", env).projects,
    vendors: parseProjects("vendor", env).projects,
  }
}

function resultOf<T>(read: () => T): T | ConfigurationError {
  try {
    return read()
  } catch (error) {
    if (error instanceof ConfigurationError) return error
    throw error
  }
}
