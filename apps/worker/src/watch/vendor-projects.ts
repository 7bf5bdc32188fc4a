/** Credentials for the vendor's REST API. They are needed only if the vendor keeps a copy, and never read again for an archive. */
import {
  type Projects,
  readProjects,
  type VendorProject,
  type WorkerProject,
} from "@unseal/service/projects/projects"
import type { Environment } from "@unseal/service/settings/settings"

/** The projects for the vendor's REST API. */
export interface VendorProjects {
  get(id: string): VendorProject | undefined
  /** The vendor has refused the credentials. The next `get` reads the files again, because only another secret helps. */
  refused(): void
  /** Sets who is told why changed files are not applied. */
  onInvalid(tell: (error: unknown) => void): void
}

/** The shortest interval between two readings after refusals. */
const REREAD_MS = 60_000

/**
 * Reads the projects now, and again when `worker` has other projects or the vendor has refused a secret. Unusable files change
 * nothing: the previous projects stay. Throws `ConfigurationError` only now.
 */
export function openVendorProjects(
  worker: Pick<Projects<WorkerProject>, "ids">,
  env: Environment,
  now: () => number = () => performance.now(),
): VendorProjects {
  let projects = readProjects({ for: "vendor", env })
  let ids = worker.ids
  let readAt = now()
  let isRefused = false
  let tell: (error: unknown) => void = () => {}

  function follow(): void {
    const isDue = isRefused && now() - readAt >= REREAD_MS
    if (ids === worker.ids && !isDue) return
    ids = worker.ids
    readAt = now()
    isRefused = false
    try {
      projects = readProjects({ for: "vendor", env })
    } catch (error) {
      tell(error)
    }
  }

  return {
    get(id) {
      follow()
      return projects.get(id)
    },
    refused() {
      isRefused = true
    },
    onInvalid(given) {
      tell = given
    },
  }
}
