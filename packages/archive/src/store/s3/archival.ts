/**
 * Objects in S3's archival storage classes. HeadObject names the class. Its header `x-amz-restore` says whether a copy is on its
 * way or exists. RestoreObject asks for one.
 */
import { RestoreObjectCommand } from "@aws-sdk/client-s3"
import { UnsealError } from "../../errors.ts"
import type { Archival, RestoreOptions, Restoring, StoredObject } from "../contract.ts"
import { objectIn, type S3Bucket, whereIn } from "./connection/client.ts"
import { s3Error } from "./errors.ts"
import { nameOf, statusOf } from "./facts.ts"

const ARCHIVAL_CLASSES = new Set(["GLACIER", "DEEP_ARCHIVE"])
/**
 * The class with archive tiers of its own. S3 moves objects there that nobody has read for a long time. A restored object stays
 * out of them by itself.
 */
const TIERED = "INTELLIGENT_TIERING"
const TIERS = { bulk: "Bulk", standard: "Standard" } as const

/** The archival class in an object's headers; `null` if the object can be read. */
export function archivalIn(headers: Readonly<Record<string, string>>): Archival | null {
  const { "x-amz-storage-class": named = "", "x-amz-archive-status": tier } = headers
  const storageClass = tier === undefined ? named : `${TIERED} ${tier}`
  if (tier === undefined && !ARCHIVAL_CLASSES.has(storageClass)) return null
  const [, ongoing] = /\bongoing-request="(true|false)"/.exec(headers["x-amz-restore"] ?? "") ?? []
  return ongoing === "false" ? null : { storageClass, isRestoring: ongoing === "true" }
}

/** `ArchiveStore.restore`. A temporary copy has the same version and the same ETag. */
export async function restoreObject(
  bucket: S3Bucket,
  { key, archival }: StoredObject,
  { tier, days }: RestoreOptions,
  signal: AbortSignal,
): Promise<Restoring> {
  const where = whereIn(bucket, key)
  const RestoreRequest = {
    GlacierJobParameters: { Tier: TIERS[tier] },
    // Here the object itself comes back, for good, so S3 refuses a number of days.
    ...(archival?.storageClass.startsWith(TIERED) ? {} : { Days: days }),
  }
  try {
    signal.throwIfAborted()
    const command = new RestoreObjectCommand({ ...objectIn(bucket, key), RestoreRequest })
    const { $metadata } = await bucket.call((client) => client.send(command, { abortSignal: signal }), signal)
    // 200: there is a copy already, and its days begin anew.
    return $metadata.httpStatusCode === 200 ? "readable" : "asked"
  } catch (error) {
    if (signal.aborted) throw signal.reason
    if (nameOf(error) === "RestoreAlreadyInProgress") return "under-way"
    // Its class is not archival, or is no longer.
    if (nameOf(error) === "InvalidObjectState") return "readable"
    if ([405, 501].includes(statusOf(error) ?? 0))
      throw new UnsealError(
        "ERR_STORE_DENIED",
        `${where} is archived, but this store does not support RestoreObject (it answered ${statusOf(error)} ${nameOf(error)})`,
        { cause: error, remedy: "restore the objects with the store's own tools, then try again" },
      )
    throw s3Error(error, "RestoreObject", where, signal)
  }
}
