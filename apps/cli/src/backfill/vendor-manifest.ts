/** The vendor's list of a period, in place of a manifest: `--from` and `--to`. */
import type { UnsealError } from "@unseal/archive/errors"
import type { PlannedLine } from "@unseal/operations/backfill/plan/plan"
import { type ListedTime, listVendorLines } from "@unseal/operations/backfill/plan/vendor-lines"
import type { Projects, VendorProject } from "@unseal/service/projects/projects"
import { UsageError } from "../terminal/exit.ts"
import { openVendor } from "../vendor.ts"
import { isObjectUrl } from "./manifest-lines.ts"

export interface VendorManifestOptions {
  readonly from?: string
  readonly to?: string
}

/**
 * The period of the vendor's list; `null` if `paths` are the manifest. Throws `UsageError` unless exactly one of the two is
 * given.
 */
export function listedTime(paths: readonly string[], { from, to }: VendorManifestOptions): ListedTime | null {
  if (from === undefined) {
    if (to !== undefined) throw new UsageError("--to ends what --from begins: give --from as well")
    if (paths.length === 0)
      throw new UsageError(
        "what is the manifest? give files, URLs of objects, or --from for the vendor's list",
      )
    return null
  }
  if (paths.length > 0)
    throw new UsageError(
      `--from asks for the vendor's list: leave out ${isObjectUrl(paths[0]!) ? "the URL" : "the file"}, or --from`,
    )
  return { from: dateOf("--from", from), to: to === undefined ? Date.now() : dateOf("--to", to) }
}

function dateOf(option: string, text: string): number {
  const at = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?Z)?$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(at))
    throw new UsageError(
      `${option} must be a day (UTC) like 2023-01-31, or a time like 2023-01-31T18:00Z, not "${text}"`,
    )
  return at
}

/**
 * The lines of the vendor's list for `projectId`, or for each project with credentials. Says which projects are left out. Throws
 * `UsageError` if no project has credentials. `onTrouble` is called for a project whose list can't be read to its end.
 */
export function readVendorManifest(
  vendors: Pick<Projects<VendorProject>, "ids" | "get">,
  projectId: string | undefined,
  time: ListedTime,
  onTrouble: (projectId: string, error: UnsealError) => void,
  signal: AbortSignal,
): AsyncGenerator<PlannedLine> {
  const wanted = projectId === undefined ? vendors.ids : [projectId]
  const hasCredentials = (id: string) => vendors.get(id)?.credentials !== undefined
  // For a single project that is an error, which says which settings are missing.
  if (!wanted.some(hasCredentials)) openVendor({ project: wanted[0]! })
  for (const id of wanted)
    if (!hasCredentials(id))
      process.stderr.write(`project ${id} is left out: it has no credentials for the REST API\n`)
  const listed = wanted.filter(hasCredentials)
  return listVendorLines(
    listed.map((id) => ({ id, vendor: openVendor({ project: id }).client })),
    time,
    onTrouble,
    signal,
  )
}
