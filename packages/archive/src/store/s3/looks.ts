/**
 * Interprets a denied look at an object. S3 answers 403 for a missing key to users who may not list the bucket, so a denial alone
 * does not distinguish a missing object from a forbidden one. Listing that one key does, if it is allowed. If listing was
 * never allowed, the object counts as missing: the callers wait for it, and say why they may wait in vain.
 */
import { ListObjectsV2Command } from "@aws-sdk/client-s3"
import { keyUnder } from "../identity.ts"
import { type S3Bucket, whereIn } from "./connection/client.ts"
import { s3Error } from "./errors.ts"
import { nameOf, statusOf, wordsOf } from "./facts.ts"

/** Whether a look was denied in the way that a missing key may be. */
export const isDenied = (error: unknown): boolean =>
  statusOf(error) === 403 && nameOf(error) === "AccessDenied"

/** Resolves if the object under `key` is missing or invisible. Otherwise rejects with the translated denial. */
export async function judgeDenial(
  bucket: S3Bucket,
  key: string,
  denial: unknown,
  operation: "HeadObject" | "GetObject",
  signal: AbortSignal,
): Promise<void> {
  const { capabilities } = bucket
  const refuse = () => s3Error(denial, operation, whereIn(bucket, key), signal)
  // AWS names the permission to the account's own users.
  const [, permission] = /not authorized to perform: ([\w:]+)/.exec(wordsOf(denial)) ?? []
  if (permission === "s3:ListBucket" || (permission === undefined && capabilities.listing === "denied"))
    return bucket.turnBlind()
  if (permission !== undefined) throw refuse()

  const name = keyUnder(bucket.prefix, key)
  try {
    const command = new ListObjectsV2Command({ Bucket: bucket.name, Prefix: name, MaxKeys: 1 })
    const send = () => bucket.call((client) => client.send(command, { abortSignal: signal }), signal)
    const { Contents: found = [] } = await send()
    capabilities.noteListing(true)
    if (!found.some((one) => one.Key === name)) return
  } catch (error) {
    if (signal.aborted || !isDenied(error))
      throw s3Error(error, "ListObjectsV2", whereIn(bucket, key), signal)
    // Listing used to be allowed, so more than that was lost.
    if (capabilities.listing === "allowed") throw refuse()
    capabilities.noteListing(false)
    return bucket.turnBlind()
  }
  throw refuse()
}
