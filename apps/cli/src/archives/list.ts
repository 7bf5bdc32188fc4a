import { counted } from "@unseal/archive/counted"
import type { VendorArchive } from "@unseal/vendor/client"
import { openVendor } from "../vendor.ts"
import type { VendorOptions } from "../vendor-options.ts"

export interface ArchivesListOptions extends VendorOptions {
  readonly limit: number
  readonly status?: string
  readonly allFields?: true
  readonly json?: true
}

/** The vendor's largest page, for searches by status. Without a status, pages are as small as the request. */
const LARGEST_PAGE = 1_000
const SMALLEST_PAGE = 20

/** `unseal archives list`: the vendor's list of a project's archives, newest first. */
export async function archivesListCommand(options: ArchivesListOptions, signal: AbortSignal): Promise<void> {
  const { client } = openVendor(options)
  const wanted = options.status === undefined ? options.limit : LARGEST_PAGE
  const pageSize = Math.max(SMALLEST_PAGE, Math.min(LARGEST_PAGE, wanted))
  const archives: VendorArchive[] = []
  for await (const archive of client.listArchives({ pageSize }, signal)) {
    if (options.status !== undefined && archive.status !== options.status) continue
    archives.push(archive)
    if (!options.json) process.stdout.write(`${row(archive)}\n`)
    if (archives.length >= options.limit) break
  }
  if (options.json)
    process.stdout.write(
      `${JSON.stringify(archives.map((archive) => fieldsOf(archive, options.allFields === true)))}\n`,
    )
  process.stderr.write(`${counted(archives.length, "archive")}\n`)
}

function row({ archiveId, status, createdAt, size, encryptedPassword }: VendorArchive): string {
  const time = createdAt === undefined ? "-" : new Date(createdAt).toISOString()
  const encrypted = encryptedPassword === undefined ? "no password" : "encrypted"
  return `${time.padEnd(24)}  ${archiveId}  ${status.padEnd(9)}  ${String(size ?? "-").padStart(12)}  ${encrypted}`
}

/** What a terminal or a log may show. With `all`, also the encrypted password and the signed URL. */
function fieldsOf({ encryptedPassword, url, ...rest }: VendorArchive, all: boolean) {
  return {
    ...rest,
    encrypted: encryptedPassword !== undefined,
    ...(all && { encryptedPassword: encryptedPassword ?? null, url: url ?? null }),
  }
}
