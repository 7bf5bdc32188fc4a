import { counted } from "../../counted.ts"
import { isUnsealError, UnsealError } from "../../errors.ts"
import type { CreateOptions, StoredObject } from "../contract.ts"
import { isSameObject } from "../identity.ts"
import { refusesChecksum, refusesHeader } from "./bodies.ts"
import { bareEtag, type S3Bucket, whereIn } from "./connection/client.ts"
import { s3Error } from "./errors.ts"
import { nameOf, statusOf } from "./facts.ts"
import { METADATA_PREFIX, statObject } from "./read.ts"

/** User metadata as a PUT carries it. */
export const metadataHeaders = (metadata: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`${METADATA_PREFIX}${name}`, value]))

/** Optional parts of the request that makes an object visible. */
export interface CommitForm {
  /** `If-None-Match: *`. */
  readonly condition: boolean
  /** The parts' checksums. */
  readonly checksums: boolean
}

/** The commit of one object. */
export interface Commit {
  readonly key: string
  readonly size: number
  readonly options: CreateOptions
  readonly operation: "CompleteMultipartUpload" | "PutObject"
  /** Whether the store is known to refuse this operation if the object exists. */
  readonly heedsCondition: boolean
  /** What the store may accept. The condition is always left out if an existing object is to be replaced. */
  readonly form: CommitForm
  /** Sends the one request that makes the object visible. Resolves to the ETag. */
  send(form: CommitForm): Promise<string | undefined>
}

export interface Committed {
  readonly object: StoredObject
  /** `false` if the object was already there. */
  readonly sent: boolean
  /** What had to be left out before the store accepted the request. */
  readonly refused: CommitForm
}

/**
 * Makes an object visible, and never guesses whether it is: anything but a plain success is settled by reading the destination
 * back. With `existing: "fail"` the condition closes the gap between looking and committing. A store that refuses the
 * condition, or the parts' checksums, gets the request again without it. On a store without conditions, the later of two
 * writers of different objects wins.
 */
export async function commitObject(
  bucket: S3Bucket,
  commit: Commit,
  signal: AbortSignal,
): Promise<Committed> {
  const { key, size, options } = commit
  const where = whereIn(bucket, key)

  const settleCommit = async (cause?: unknown): Promise<StoredObject | null> => {
    const found = await statObject(bucket, key, signal)
    if (found && isSameObject(found, size, options.metadata)) return found
    if (found && options.existing === "fail")
      throw new UnsealError(
        "ERR_DESTINATION_EXISTS",
        `${where} holds another object of ${counted(found.size, "byte")}, where one of ${counted(size, "byte")} should be`,
        { cause },
      )
    return null
  }

  // Looks first, unless the store is known to honour the condition: some stores refuse it, and some silently ignore it.
  const before = options.existing === "fail" && !commit.heedsCondition ? await settleCommit() : null
  if (before) return { object: before, sent: false, refused: NOTHING }

  const fullest = { ...commit.form, condition: commit.form.condition && options.existing === "fail" }
  let plainer: readonly CommitForm[] | undefined
  let failure: unknown
  for (let form: CommitForm | undefined = fullest; form; ) {
    try {
      const etag = bareEtag(await commit.send(form))
      const object = { key, size, etag, metadata: options.metadata }
      if (etag) return { object, sent: true, refused: without(fullest, form) }
      failure = new UnsealError(
        "ERR_STORE_UNAVAILABLE",
        `${commit.operation} of ${where} answered without an ETag`,
      )
      form = undefined
    } catch (error) {
      // Of several refusals, the first says what is wrong.
      failure ??= s3Error(error, commit.operation, where, signal)
      if (signal.aborted) throw signal.reason
      plainer ??= plainerForms(fullest, error)
      const isRefusal = statusOf(error) === 412 || refusesHeader(error)
      form = isRefusal ? plainer[0] : undefined
      plainer = plainer.slice(1)
      // Without the condition, an object that may not be seen would be replaced.
      if (form && fullest.condition && !form.condition && bucket.isBlind) throw blind(commit, where, failure)
      // A 412 may also mean that the object exists by now.
      const found = form && statusOf(error) === 412 ? await settleCommit(failure) : null
      if (found) return { object: found, sent: false, refused: NOTHING }
      if (!form && isUnsealError(failure, "ERR_STORE_DENIED")) throw failure
    }
  }
  const after = await settleCommit(failure)
  if (after) return { object: after, sent: false, refused: NOTHING }
  throw failure
}

/**
 * What to send instead of `full`, which was refused. The checksums are dropped first, because the condition protects another's
 * object: Google's S3 interface refuses checksums in the document with 412. Most stores that say 501 or 400 mean the condition.
 */
function plainerForms({ condition, checksums }: CommitForm, error: unknown): readonly CommitForm[] {
  const noChecksums = { condition, checksums: false }
  const noCondition = { condition: false, checksums }
  if (statusOf(error) !== 412 && !refusesChecksum(error, !condition) && !refusesCondition(error)) return []
  const checksumsFirst = statusOf(error) === 412 || refusesChecksum(error, false)
  const forms = checksumsFirst ? [noChecksums, noCondition, NOTHING] : [noCondition, noChecksums, NOTHING]
  const isLess = (form: CommitForm) => form.condition !== condition || form.checksums !== checksums
  return forms.filter(
    (form, index) =>
      isLess(form) &&
      !forms
        .slice(0, index)
        .some((other) => other.condition === form.condition && other.checksums === form.checksums),
  )
}

const blind = ({ operation }: Commit, where: string, refused: unknown) =>
  new UnsealError(
    "ERR_STORE_DENIED",
    `${operation} of ${where} with If-None-Match answered ${statusOf((refused as Error).cause)}, and the credentials don't allow a look for an object there: they need s3:GetObject and s3:ListBucket`,
    { cause: refused },
  )

const NOTHING: CommitForm = { condition: false, checksums: false }

/** What `full` has and `less` lacks. */
const without = (full: CommitForm, less: CommitForm): CommitForm => ({
  condition: full.condition && !less.condition,
  checksums: full.checksums && !less.checksums,
})

/** Whether a store says that it does not know the condition. */
export const refusesCondition = (error: unknown): boolean =>
  statusOf(error) === 501 || ["NotImplemented", "InvalidArgument"].includes(nameOf(error))
