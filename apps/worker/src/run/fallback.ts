/** The vendor's copy of an archive that it could not upload, or had no place to upload to. */
import { isUnsealError, UnsealError } from "@unseal/archive/errors"
import { openHttpsStore } from "@unseal/archive/store/https/source"
import type { OpenStoreOptions } from "@unseal/archive/store/open"
import { RequestLimit } from "@unseal/archive/store/requests/limit"
import type { JobPayload } from "@unseal/queue/jobs/job"
import { createVendorClient } from "@unseal/vendor/client"
import { VendorError } from "@unseal/vendor/vendor-error"
import type { Config } from "../config.ts"
import type { RequestMetrics } from "../watch/request-metrics.ts"
import type { JobResources } from "./project-resources.ts"
import { type SideReports, sided } from "./sides.ts"
import { isAnswer, silenceOf } from "./silence.ts"

/** The pause after a vendor has refused requests for their rate, and the longest pause that it may ask for. */
const QUIET_MS = 5_000
const LONGEST_QUIET_MS = 300_000

export interface FallbackOptions {
  readonly config: Pick<Config, "vendors" | "settings" | "env">
  readonly onRetry: NonNullable<OpenStoreOptions["onRetry"]>
  readonly requests?: RequestMetrics | undefined
  readonly onExchange?: OpenStoreOptions["onExchange"]
}

/** Where to look for an archive, including the vendor's copy, and how to close that. */
export type Fallback = (
  resources: JobResources,
  job: JobPayload,
  reports: SideReports,
) => { readonly resources: JobResources; close(): Promise<void> }

/**
 * Adds the vendor's copy to the sources of an `available` archive. It comes last, so that an archive that did reach the source store
 * is read from there. The callback's URL is valid for ten minutes; later ones come from the REST API.
 */
export function createFallback({ config, onRetry, requests, onExchange }: FallbackOptions): Fallback {
  // All of a project's copies are at one vendor, which counts their requests together.
  const limits = new Map<string, RequestLimit>()
  const quietUntil = new Map<string, { readonly until: number; readonly error: VendorError }>()
  return (resources, { projectId, archiveId, status, url }, reports) => {
    if (status !== "available" || (url === undefined && credentialsOf(projectId) === undefined))
      return { resources, close: async () => {} }
    const key = `vendor://${projectId}/${archiveId}`
    const limit = limits.get(projectId) ?? new RequestLimit()
    limits.set(projectId, limit)
    const opened = openHttpsStore({
      ...{ key, url, limit, env: config.env, onExchange },
      onRequest: (request) => requests?.store("vendor", request),
      onRetry(code) {
        if (isAnswer(code)) silenceOf(opened).refused()
        onRetry(code)
      },
      hosts: config.settings.UNSEAL_FALLBACK_HOSTS,
      renew: (signal) => askForUrl(projectId, archiveId, signal),
    })
    const copy = sided(opened, "vendor", reports)
    const { source } = resources
    const storeOf = (asked: string) => (asked === key ? copy : source)
    return {
      resources: {
        ...resources,
        sourceKeys: [...resources.sourceKeys, key],
        source: {
          ...source,
          stat: (asked, signal) => storeOf(asked).stat(asked, signal),
          open: (asked, length, signal) => storeOf(asked).open(asked, length, signal),
          read: (object, range, signal) => storeOf(object.key).read(object, range, signal),
        },
      },
      close: () => opened.close(),
    }
  }

  function credentialsOf(projectId: string) {
    return config.vendors.get(projectId)?.credentials
  }

  async function askForUrl(
    projectId: string,
    archiveId: string,
    signal: AbortSignal,
  ): Promise<string | null> {
    const project = config.vendors.get(projectId)
    if (project?.credentials === undefined)
      throw new UnsealError(
        "ERR_STORE_DENIED",
        `the URL of archive ${archiveId} has expired, and project ${projectId} has no credentials to ask the vendor for another`,
        {
          remedy:
            "give the project credentials of the vendor's REST API (UNSEAL_API_SECRET or UNSEAL_APPLICATION_KEY, or apiSecretFile or applicationKeyFile in the projects file)",
        },
      )
    const quiet = quietUntil.get(projectId)
    if (quiet !== undefined && performance.now() < quiet.until) throw quiet.error
    const client = createVendorClient({
      ...{ projectId, platform: project.platform, credentials: project.credentials },
      baseUrl: project.apiUrl,
      // The store around it already repeats requests: five for a look, not five times five.
      attempts: 1,
      onRequest: requests?.vendor,
    })
    try {
      return (await client.getArchive(archiveId, signal))?.url ?? null
    } catch (error) {
      if (isUnsealError(error, "ERR_STORE_DENIED")) config.vendors.refused()
      // Outer layers repeat failed requests. If the vendor asks for a pause, no slot sleeps: the archive goes back, and the
      // project's suspension waits.
      if (error instanceof VendorError && (error.status === 429 || error.retryAfterMs !== undefined))
        quietUntil.set(projectId, {
          until: performance.now() + Math.min(error.retryAfterMs ?? QUIET_MS, LONGEST_QUIET_MS),
          error,
        })
      throw error
    }
  }
}
