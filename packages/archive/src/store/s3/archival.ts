/**
 * Objects in S3's archival storage classes. HeadObject names the class, and tells in `x-amz-restore` whether a copy is on its way or
 * there. RestoreObject asks for one.
 */
import { RestoreObjectCommand } from "@aws-sdk/client-s3"
import { UnsealError } from "../../errors.ts"
import type { Archival, RestoreOptions, Restoring, StoredObject } from "../contract.ts"
import { objectIn, type S3Bucket, whereIn } from "./connection/client.ts"
import { s3Error } from "./errors.ts"
import { nameOf, statusOf } from "./facts.ts"

const ARCHIVAL_CLASSES = new Set(["GLACIER", "DEEP_ARCHIVE"])
/** Its own archive tiers, into which S3 moves what nobody has read for long. A restored object stays out of them by itself. */
const TIERED = "INTELLIGENT_TIERING"
const TIERS = { bulk: "Bulk", standard: "Standard" } as const

/** The archival class that the headers of an object tell; `null` if it can be read. */
export function archivalIn(headers: Readonly<Record<string, string>>): Archival | null {
  const { "x-amz-storage-class": named = "", "x-amz-archive-status": tier } = headers
  const storageClass = tier === undefined ? named : `${TIERED} ${tier}`
  if (tier === undefined && !ARCHIVAL_CLASSES.has(storageClass)) return null
  const [, ongoing] = /\bongoing-request="(true|false)"/.exec(headers["x-amz-restore"] ?? "") ?? []
  return ongoing === "false" ? null : { storageClass, isRestoring: ongoing === "true" }
}

/** `ArchiveStore.restore`. A temporary copy is of the same version: its ETag stays. */
export async function restoreObject(
  bucket: S3Bucket,
  { key, archival }: StoredObject,
  { tier, days }: RestoreOptions,
  signal: AbortSignal,
): Promise<Restoring> {
  const where = whereIn(bucket, key)
  const RestoreRequest = {
    GlacierJobParameters: { Tier: TIERS[tier] },
    // S3 refuses a number of days where the object itself comes back, for good.
    ...(archival?.storageClass.startsWith(TIERED) ? {} : { Days: days }),
  }
  try {
    signal.throwIfAborted()
    const command = new RestoreObjectCommand({ ...objectIn(bucket, key), RestoreRequest })
    const { $metadata } = await bucket.call((client) => client.send(command, { abortSignal: signal }), signal)
    // 200 says that there is a copy already, whose days begin anew.
    return $metadata.httpStatusCode === 200 ? "readable" : "asked"
  } catch (error) {
    if (signal.aborted) throw signal.reason
    if (nameOf(error) === "RestoreAlreadyInProgress") return "under-way"
    // Its class is not archival, or not any more.
    if (nameOf(error) === "InvalidObjectState") return "readable"
    if ([405, 501].includes(statusOf(error) ?? 0))
      throw new UnsealError(
        "ERR_STORE_DENIED",
        `${where} is archived, and this store knows no RestoreObject (it answered ${statusOf(error)} ${nameOf(error)})`,
        { cause: error, remedy: "bring the objects back by the store's own means, then go on" },
      )
    throw s3Error(error, "RestoreObject", where, signal)
  }
}
