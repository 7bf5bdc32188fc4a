/** Access to the vendor's REST API for commands: options first, then the project's settings, then the platform's defaults. */
import type { VendorProject } from "@unseal/service/projects/projects"
import { createVendorClient, type VendorClient } from "@unseal/vendor/client"
import { type AuthScheme, PLATFORM_DEFAULTS } from "@unseal/vendor/platform"
import { env, readVendorSettings } from "./config.ts"
import { UsageError } from "./terminal/exit.ts"
import type { VendorOptions } from "./vendor-options.ts"

export interface Vendor {
  readonly client: VendorClient
  readonly projectId: string
  readonly baseUrl: string
  readonly auth: AuthScheme
  /** The value of `fallback` that keeps an archive at the vendor when its upload fails. */
  readonly fallbackWord: string
}

/** Reads options and settings. Throws `UsageError` or `ConfigurationError` for missing or wrong values. Sends nothing. */
export function openVendor(options: VendorOptions): Vendor {
  const { project, fallbackWord } = readProject(options)
  const { id: projectId, platform, credentials } = project
  const baseUrl = options.baseUrl ?? project.apiUrl ?? PLATFORM_DEFAULTS[platform].baseUrl
  if (credentials === undefined)
    throw new UsageError(
      `project ${projectId} has no credentials for the REST API: set UNSEAL_API_SECRET (or UNSEAL_API_SECRET_FILE) for OpenTok, UNSEAL_APPLICATION_KEY_FILE for Vonage`,
    )
  try {
    return {
      client: createVendorClient({ platform, projectId, baseUrl, credentials }),
      projectId,
      baseUrl: baseUrl.replace(/\/+$/, ""),
      auth: credentials.scheme,
      fallbackWord: fallbackWord ?? PLATFORM_DEFAULTS[platform].fallbackWord,
    }
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(error.message) : error
  }
}

function readProject(options: VendorOptions): {
  project: VendorProject
  fallbackWord: string | undefined
} {
  const inFile = Boolean(env.UNSEAL_PROJECTS_FILE)
  if (inFile && (options.platform ?? options.auth) !== undefined)
    throw new UsageError(
      "UNSEAL_PROJECTS_FILE has the platform and the authentication: leave out --platform and --auth",
    )
  const { settings, projects } = readVendorSettings(inFile ? {} : variablesOf(options))
  const id = options.project?.toLowerCase() ?? (projects.ids.length === 1 ? projects.ids[0] : undefined)
  if (id === undefined)
    throw new UsageError(`which project? give --project, one of ${projects.ids.join(", ")}`)
  const project = projects.get(id)
  if (project === undefined)
    throw new UsageError(
      `there is no project ${id} in UNSEAL_PROJECTS_FILE: it has ${projects.ids.join(", ")}`,
    )
  return { project, fallbackWord: settings.UNSEAL_FALLBACK_WORD }
}

/** The options as the variables that they replace. */
function variablesOf({ project, platform, auth }: VendorOptions): Record<string, string> {
  return {
    ...(project !== undefined && { UNSEAL_PROJECT_ID: project }),
    ...(platform !== undefined && { UNSEAL_PLATFORM: platform }),
    ...(auth !== undefined && { UNSEAL_API_AUTH: auth }),
  }
}
