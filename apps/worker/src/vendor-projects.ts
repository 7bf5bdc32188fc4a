/** What the vendor's REST API asks for: needed only where the vendor keeps a copy, and never read again for an archive. */
import { type Projects, readProjects, type VendorProject, type WorkerProject } from "@unseal/service/projects"
import type { Environment } from "@unseal/service/settings"

/** The projects as the vendor's REST API needs them. */
export interface VendorProjects {
  get(id: string): VendorProject | undefined
  /** The vendor has refused the credentials: the next `get` reads the files anew, since only another secret helps. */
  refused(): void
  /** Who is told why files that have changed are not taken. */
  onInvalid(tell: (error: unknown) => void): void
}

/** After a refusal the files are read again no sooner than this. */
const REREAD_MS = 60_000

/**
 * Reads the projects now, and again when `worker` has other projects or the vendor has refused a secret. Files that can't be used
 * change nothing: the projects of before stay. Throws `ConfigurationError` only now.
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
