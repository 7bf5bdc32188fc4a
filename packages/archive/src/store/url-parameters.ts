/** The parameters of store URLs, named as in the SDKs, and their valid values. */
import { StoreUrlError } from "./url-error.ts"

/** Whether archives are read from a store or written to it. */
export type StoreSide = "source" | "destination"

/** How S3 is to store what is written. */
export interface S3Placement {
  readonly serverSideEncryption?: string
  readonly sseKmsKeyId?: string
  readonly bucketKeyEnabled?: boolean
  readonly storageClass?: string
  /** In the header's form: `team=media&keep=yes`, percent-encoded. */
  readonly tagging?: string
  readonly acl?: string
  /** Twelve digits. A bucket of any other owner is refused. */
  readonly expectedBucketOwner?: string
  readonly requestPayer?: "requester"
}

/** How Azure is to store what is written. */
export interface AzurePlacement {
  readonly accessTier?: string
  readonly encryptionScope?: string
  readonly tags?: Readonly<Record<string, string>>
}

type Parameters = ReadonlyMap<string, string>

/** The only side on which a parameter makes sense. Parameters that are not listed apply to both. */
const SIDE_OF: Readonly<Record<string, StoreSide>> = {
  ...Object.fromEntries(
    ["serverSideEncryption", "sseKmsKeyId", "bucketKeyEnabled", "storageClass", "tagging", "acl"].map(
      (name) => [name, "destination" as const],
    ),
  ),
  ...Object.fromEntries(
    ["accessTier", "encryptionScope", "tags"].map((name) => [name, "destination" as const]),
  ),
}

/** Throws `StoreUrlError` for a parameter that has no meaning on this `side`. */
export function checkSide(parameters: Parameters, side: StoreSide): void {
  for (const name of parameters.keys()) {
    const only = SIDE_OF[name]
    if (only !== undefined && only !== side)
      throw new StoreUrlError(`${name} is for the ${only}, and this is the URL of the ${side}`)
  }
}

const KMS = ["aws:kms", "aws:kms:dsse"]
const ACLS = [
  ...["private", "public-read", "public-read-write", "authenticated-read", "aws-exec-read"],
  ...["bucket-owner-read", "bucket-owner-full-control"],
]
const STORAGE_CLASSES = [
  ...["STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING"],
  ...["GLACIER_IR", "EXPRESS_ONEZONE", "OUTPOSTS"],
]

/** The S3 parameters of a URL. Throws a `StoreUrlError` that names an invalid value, and the valid ones. */
export function s3Placement(parameters: Parameters): S3Placement {
  const serverSideEncryption = oneOf(parameters, "serverSideEncryption", ["AES256", ...KMS])
  const sseKmsKeyId = matching(
    parameters,
    "sseKmsKeyId",
    /^[\x21-\x7e]{1,2048}$/,
    "a key id, an alias or an ARN",
  )
  const bucketKeyEnabled = oneOf(parameters, "bucketKeyEnabled", ["true", "false"])
  if (!KMS.includes(serverSideEncryption ?? ""))
    for (const name of ["sseKmsKeyId", "bucketKeyEnabled"])
      if (parameters.has(name))
        throw new StoreUrlError(`${name} needs serverSideEncryption=aws:kms (or aws:kms:dsse) beside it`)
  return given({
    serverSideEncryption,
    sseKmsKeyId,
    bucketKeyEnabled: bucketKeyEnabled === undefined ? undefined : bucketKeyEnabled === "true",
    storageClass: storageClassOf(parameters),
    tagging: taggingOf(parameters),
    acl: oneOf(parameters, "acl", ACLS),
    expectedBucketOwner: matching(
      parameters,
      "expectedBucketOwner",
      /^\d{12}$/,
      "an AWS account's number of 12 digits",
    ),
    requestPayer: oneOf(parameters, "requestPayer", ["requester"]) as "requester" | undefined,
  })
}

/** A store other than AWS may have classes of its own. */
function storageClassOf(parameters: Parameters): string | undefined {
  const value = parameters.get("storageClass")
  if (value === "GLACIER" || value === "DEEP_ARCHIVE")
    throw new StoreUrlError(
      `storageClass ${value} can't be read back at once, but Unseal reads back what it writes: let a lifecycle rule move finished archives there`,
    )
  return parameters.has("endpoint")
    ? matching(parameters, "storageClass", /^[A-Za-z0-9_-]{1,64}$/, "a name of letters, digits, - and _")
    : oneOf(parameters, "storageClass", STORAGE_CLASSES)
}

function taggingOf(parameters: Parameters): string | undefined {
  const tags = tagsIn(parameters, "tagging", 128, 256)
  const encode = encodeURIComponent
  return (
    tags &&
    Object.entries(tags)
      .map(([name, value]) => `${encode(name)}=${encode(value)}`)
      .join("&")
  )
}

/** The Azure parameters of a URL. Throws a `StoreUrlError` that names an invalid value, and the valid ones. */
export function azurePlacement(parameters: Parameters): AzurePlacement {
  if (parameters.get("accessTier") === "Archive")
    throw new StoreUrlError(
      "accessTier Archive can't be read back at once, but Unseal reads back what it writes: let a lifecycle rule move finished archives there",
    )
  return given({
    accessTier: oneOf(parameters, "accessTier", ["Hot", "Cool", "Cold"]),
    encryptionScope: matching(
      parameters,
      "encryptionScope",
      /^[A-Za-z0-9](?:-?[A-Za-z0-9]){2,62}$/,
      "3 to 63 letters, digits and single dashes",
    ),
    tags: tagsIn(parameters, "tags", 128, 256),
  })
}

/** Parses `name=value&name=value`, percent-encoded once more in a URL. Both clouds accept ten. */
function tagsIn(parameters: Parameters, parameter: string, longestName: number, longestValue: number) {
  const text = parameters.get(parameter)
  if (text === undefined) return undefined
  const pairs = [...new URLSearchParams(text)]
  const names = new Set(pairs.map(([name]) => name))
  const fits = pairs.every(
    ([name, value]) => name !== "" && name.length <= longestName && value.length <= longestValue,
  )
  if (!fits || pairs.length === 0 || pairs.length > 10 || names.size < pairs.length)
    throw new StoreUrlError(
      `${parameter} is not 1 to 10 different tags: ${parameter}=${encodeURIComponent("team=media&keep=yes")} gives two`,
    )
  return Object.fromEntries(pairs)
}

function oneOf(parameters: Parameters, name: string, values: readonly string[]): string | undefined {
  const value = parameters.get(name)
  if (value === undefined || values.includes(value)) return value
  throw new StoreUrlError(`${name} is "${value}" instead of ${values.join(", ")}`)
}

function matching(parameters: Parameters, name: string, form: RegExp, what: string): string | undefined {
  const value = parameters.get(name)
  if (value === undefined || form.test(value)) return value
  throw new StoreUrlError(`${name} is not ${what}`)
}

/** Drops undefined properties. */
function given<T extends object>(values: T) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [Name in keyof T]: Exclude<T[Name], undefined>
  }
}

/** Headers for the calls that begin an object (PutObject, CreateMultipartUpload), and for all others. */
export interface PlacementHeaders {
  readonly begin: Readonly<Record<string, string>>
  readonly other: Readonly<Record<string, string>>
}

/**
 * The headers that the URL asks for, names in lower case. Placement goes only into the call that begins an object; S3 refuses
 * it in the calls that follow.
 */
export function placementHeaders({ bucketKeyEnabled, ...url }: S3Placement): PlacementHeaders {
  const other = {
    "x-amz-expected-bucket-owner": url.expectedBucketOwner,
    "x-amz-request-payer": url.requestPayer,
  }
  const begin = {
    "x-amz-server-side-encryption": url.serverSideEncryption,
    "x-amz-server-side-encryption-aws-kms-key-id": url.sseKmsKeyId,
    "x-amz-server-side-encryption-bucket-key-enabled":
      bucketKeyEnabled === undefined ? undefined : String(bucketKeyEnabled),
    "x-amz-storage-class": url.storageClass,
    "x-amz-tagging": url.tagging,
    "x-amz-acl": url.acl,
    ...other,
  }
  return { begin: given(begin), other: given(other) }
}
