import { isUnsealError, UnsealError } from "../errors.ts"
import { isSameObject } from "./adapter.ts"
import type { CreateOptions, StoredObject } from "./contract.ts"
import { bareEtag, type S3Bucket, whereIn } from "./s3-client.ts"
import { nameOf, s3Error, statusOf } from "./s3-errors.ts"
import { METADATA_PREFIX, statObject } from "./s3-read.ts"

/** User metadata as a PUT carries it. */
export const metadataHeaders = (metadata: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`${METADATA_PREFIX}${name}`, value]))

/** The object that is to become visible. */
export interface Commit {
  readonly key: string
  readonly size: number
  readonly options: CreateOptions
  readonly operation: "CompleteMultipartUpload" | "PutObject"
  /** Whether the store is known to refuse this operation for an object that is there already. */
  readonly heedsCondition: boolean
  /** Sends the one request that makes the object visible, with `If-None-Match: *` if `condition` says so; gives the ETag. */
  send(condition: { IfNoneMatch?: "*" }): Promise<string | undefined>
}

/**
 * Makes an object visible, and never guesses whether it is: any answer but a plain success is settled by reading the
 * destination back. `sent` is false if the object was found to be there already.
 */
export async function commitObject(
  bucket: S3Bucket,
  commit: Commit,
  signal: AbortSignal,
): Promise<{ object: StoredObject; sent: boolean }> {
  const { key, size, options } = commit
  const where = whereIn(bucket, key)

  const settle = async (cause?: unknown): Promise<StoredObject | null> => {
    const found = await statObject(bucket, key, signal)
    if (found && isSameObject(found, size, options.metadata)) return found
    if (found && options.existing === "fail")
      throw new UnsealError(
        "ERR_DESTINATION_EXISTS",
        `${where} holds another object of ${found.size} bytes, where one of ${size} bytes was to appear`,
        { cause },
      )
    return null
  }

  // Asked first, unless the store is known to heed the condition: some refuse it, and some ignore it without a word.
  const before = options.existing === "fail" && !commit.heedsCondition ? await settle() : null
  if (before) return { object: before, sent: false }

  let failure: unknown
  try {
    const etag = bareEtag(await sendConditionally(commit))
    if (etag) return { object: { key, size, etag, metadata: options.metadata }, sent: true }
    failure = new UnsealError(
      "ERR_STORE_UNAVAILABLE",
      `${commit.operation} of ${where} answered without an ETag`,
    )
  } catch (error) {
    failure = s3Error(error, commit.operation, where, signal)
    if (signal.aborted || isUnsealError(failure, "ERR_STORE_DENIED")) throw failure
  }
  const after = await settle(failure)
  if (after) return { object: after, sent: false }
  throw failure
}

/**
 * With `existing: "fail"` the condition closes the gap between asking and committing. A store that refuses the condition
 * gets the request again without it: between two writers of different objects, such a store keeps the later one.
 */
async function sendConditionally(commit: Commit): Promise<string | undefined> {
  if (commit.options.existing === "replace") return commit.send({})
  try {
    return await commit.send({ IfNoneMatch: "*" })
  } catch (error) {
    if (!refusesCondition(error)) throw error
    return commit.send({})
  }
}

/** Whether a store says that it does not know the condition. */
export const refusesCondition = (error: unknown): boolean =>
  statusOf(error) === 501 || ["NotImplemented", "InvalidArgument"].includes(nameOf(error))
