/**
 * Blobs in Azure's archive tier. Get Blob Properties shows the tier, and whether the blob is being rehydrated. Set Blob Tier
 * starts that. Rehydrated blobs stay where they are: a lifecycle rule may move them back.
 */
import type { BlockBlobClient } from "@azure/storage-blob"
import { isUnsealError } from "../../errors.ts"
import type { Archival, Restoring } from "../contract.ts"
import { attempt } from "./errors.ts"

/** Cool and Cold charge for a blob that leaves early, as happens when the recording's own rule moves it back. */
const REHYDRATED_TIER = "Hot"

/** The archival class in a blob's properties; `null` if the blob can be read. */
export function archivalOf(found: {
  readonly accessTier?: string | undefined
  readonly archiveStatus?: string | undefined
}): Archival | null {
  if (found.accessTier !== "Archive") return null
  const isRestoring = found.archiveStatus?.startsWith("rehydrate-pending") ?? false
  return { storageClass: found.accessTier, isRestoring }
}

/**
 * `ArchiveStore.restore`. Both of our tiers use Azure's standard priority, which takes up to fifteen hours: its high priority is
 * for a few urgent blobs. The blob's ETag stays.
 */
export async function rehydrate(
  blob: BlockBlobClient,
  name: string,
  idleTimeoutMs: number,
  signal: AbortSignal,
): Promise<Restoring> {
  try {
    const { _response } = await attempt(`rehydrating ${name}`, idleTimeoutMs, signal, (abortSignal) =>
      blob.setAccessTier(REHYDRATED_TIER, { rehydratePriority: "Standard", abortSignal }),
    )
    // 200: the tier has changed at once, because the blob was not archived.
    return _response.status === 202 ? "asked" : "readable"
  } catch (error) {
    // BlobBeingRehydrated
    if (isUnsealError(error, "ERR_OBJECT_ARCHIVED")) return "under-way"
    throw error
  }
}
