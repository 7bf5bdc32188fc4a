/** The vendor's list of a period as a manifest, for people who have kept no callbacks. */
import { isUnsealError, type UnsealError } from "@unseal/archive/errors"
import type { VendorArchive, VendorClient } from "@unseal/vendor/client"
import { OperationError } from "../../operation-error.ts"
import { isEncrypted } from "../../submit.ts"
import type { PlannedLine } from "./plan.ts"

/** The projects that are listed, one after the other. */
export interface ListedProject {
  readonly id: string
  readonly vendor: Pick<VendorClient, "listArchives">
}

/** The period in which archives were recorded, in milliseconds since the epoch. It includes `from`, but not `to`. */
export interface ListedTime {
  readonly from: number
  readonly to: number
}

/** The list is newest first, but not strictly. Reading ends after this many archives in a row that are too old. */
const OLD_IN_A_ROW = 100
const ENDED = ["uploaded", "available", "expired"]

/**
 * The archives that were recorded within `time`, as lines that are numbered over all projects. If a project's list can't be read,
 * `onTrouble` is called, its lines so far count, and the next project follows. Throws `ERR_OPTION_INVALID` at once, and the
 * reason of `signal`.
 */
export function listVendorLines(
  projects: readonly ListedProject[],
  time: ListedTime,
  onTrouble: (projectId: string, error: UnsealError) => void,
  signal: AbortSignal,
): AsyncGenerator<PlannedLine> {
  if (!(time.from < time.to))
    throw new OperationError(
      "ERR_OPTION_INVALID",
      "the period ends before it begins, so nothing was recorded in it",
    )
  return listEach()

  async function* listEach(): AsyncGenerator<PlannedLine> {
    let line = 0
    for (const project of projects) {
      try {
        for await (const archive of within(project, time, signal)) yield lineOf(project.id, archive, ++line)
      } catch (error) {
        if (signal.aborted || !isUnsealError(error)) throw error
        onTrouble(project.id, error)
      }
    }
  }
}

async function* within(
  { vendor }: ListedProject,
  { from, to }: ListedTime,
  signal: AbortSignal,
): AsyncGenerator<VendorArchive> {
  let old = 0
  for await (const archive of vendor.listArchives({}, signal)) {
    signal.throwIfAborted()
    // An archive without a time may belong to any period.
    const { createdAt = from } = archive
    old = createdAt < from ? old + 1 : 0
    if (old >= OLD_IN_A_ROW) return
    if (createdAt >= from && createdAt < to) yield archive
  }
}

function lineOf(projectId: string, archive: VendorArchive, line: number): PlannedLine {
  const { archiveId, status, size, sha256sum, url } = archive
  if (!ENDED.includes(status)) return { line, ignored: "not-uploaded", archiveId }
  if (!isEncrypted(archive)) return { line, ignored: "not-encrypted", archiveId }
  const { encryptedPassword } = archive
  return {
    line,
    payload: {
      ...{ projectId, archiveId, encryptedPassword, status },
      ...(size !== undefined && { size }),
      ...(sha256sum !== undefined && { sha256sum }),
      ...(url?.startsWith("https://") && { url }),
    },
  }
}
