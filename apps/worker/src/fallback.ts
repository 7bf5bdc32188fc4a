/** The copy that the vendor keeps of an archive which it could not upload, or was not told where to. */
import { UnsealError } from "@unseal/archive/errors"
import { openHttpsStore } from "@unseal/archive/store/https"
import type { OpenStoreOptions } from "@unseal/archive/store/open"
import type { JobPayload } from "@unseal/queue/job"
import { createVendorClient } from "@unseal/vendor/client"
import type { Config } from "./config.ts"
import type { Place } from "./places.ts"

export interface FallbackOptions {
  readonly config: Pick<Config, "vendors" | "settings">
  readonly onRetry: NonNullable<OpenStoreOptions["onRetry"]>
}

/** Where an archive is looked for, the vendor's copy included. */
export type Fallback = (place: Place, job: JobPayload) => Place

/**
 * Adds the vendor's copy to where an `available` archive is looked for: last, so that an archive that did reach the source
 * store is read from there. The URL that came with the callback is good for ten minutes; later ones are asked of the REST API.
 */
export function createFallback({ config, onRetry }: FallbackOptions): Fallback {
  return (place, { projectId, archiveId, status, url }) => {
    if (status !== "available" || (url === undefined && credentialsOf(projectId) === undefined)) return place
    const key = `vendor://${projectId}/${archiveId}`
    const copy = openHttpsStore({
      ...{ key, url, onRetry },
      hosts: config.settings.UNSEAL_FALLBACK_HOSTS,
      renew: (signal) => askForUrl(projectId, archiveId, signal),
    })
    const { source } = place
    return {
      ...place,
      sourceKeys: [...place.sourceKeys, key],
      source: {
        ...source,
        stat: (asked, signal) => (asked === key ? copy : source).stat(asked, signal),
        open: (asked, length, signal) => (asked === key ? copy : source).open(asked, length, signal),
        read: (object, range, signal) => (object.key === key ? copy : source).read(object, range, signal),
      },
      release() {
        void copy.close()
        place.release()
      },
    }
  }

  function credentialsOf(projectId: string) {
    return config.vendors().get(projectId)?.credentials
  }

  async function askForUrl(
    projectId: string,
    archiveId: string,
    signal: AbortSignal,
  ): Promise<string | null> {
    const project = config.vendors().get(projectId)
    if (project?.credentials === undefined)
      throw new UnsealError(
        "ERR_STORE_DENIED",
        `the URL of archive ${archiveId} has expired, and project ${projectId} has no credentials to ask the vendor for another`,
      )
    const client = createVendorClient({
      ...{ projectId, platform: project.platform, credentials: project.credentials },
      baseUrl: project.apiUrl,
    })
    return (await client.getArchive(archiveId, signal))?.url ?? null
  }
}
