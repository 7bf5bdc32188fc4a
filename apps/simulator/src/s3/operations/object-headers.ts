import type { IncomingHttpHeaders } from "node:http"
import { S3Error } from "../http/s3-error.ts"

const MAX_METADATA_BYTES = 2 * 1024

/** Headers that are stored and returned with an object. */
const KEPT = [
  "cache-control",
  "content-disposition",
  "content-language",
  "expires",
  "x-amz-server-side-encryption",
  "x-amz-server-side-encryption-aws-kms-key-id",
  "x-amz-server-side-encryption-bucket-key-enabled",
]

/** The account that owns every bucket. */
export const ACCOUNT = "111122223333"

/** Headers whose effect would silently be missing, each with the values that request nothing special. */
const NOT_IMPLEMENTED: readonly (readonly [prefix: string, ...allowed: string[]])[] = [
  ["x-amz-server-side-encryption-customer-"],
  ["x-amz-server-side-encryption-context"],
  ["x-amz-server-side-encryption", "AES256", "aws:kms", "aws:kms:dsse"],
  ["x-amz-copy-source-server-side-encryption-"],
  ["x-amz-acl", "private", "bucket-owner-full-control"],
  ["x-amz-grant-"],
  [
    "x-amz-storage-class",
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
  ],
  ["x-amz-object-lock-"],
  ["x-amz-bucket-object-lock-", "false"],
  ["x-amz-website-redirect-location"],
  ["x-amz-write-offset-bytes"],
  ["x-amz-source-expected-bucket-owner"],
  ["x-amz-mfa"],
]

/** Throws `NotImplemented` for a header that asks for an unsupported feature, `AccessDenied` if it expects another owner. */
export function refuseUnsupported(headers: IncomingHttpHeaders): void {
  if ((headers["x-amz-expected-bucket-owner"] ?? ACCOUNT) !== ACCOUNT) throw new S3Error("AccessDenied")
  for (const [name, value] of Object.entries(headers)) {
    const row = NOT_IMPLEMENTED.find(([prefix]) =>
      prefix.endsWith("-") ? name.startsWith(prefix) : name === prefix,
    )
    if (row && !row.slice(1).includes(String(value)))
      throw new S3Error("NotImplemented", undefined, { Header: name })
  }
}

/** The headers of a new object: content type, the others that S3 keeps, and user metadata. */
export function objectHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const kept: Record<string, string> = {
    "content-type": headers["content-type"] || "binary/octet-stream",
  }
  for (const name of KEPT) if (headers[name] !== undefined) kept[name] = String(headers[name])

  const storageClass = headers["x-amz-storage-class"]
  if (storageClass !== undefined && storageClass !== "STANDARD")
    kept["x-amz-storage-class"] = String(storageClass)
  const tags = [...new URLSearchParams(String(headers["x-amz-tagging"] ?? ""))].length
  if (tags > 0) kept["x-amz-tagging-count"] = String(tags)

  // aws-chunked describes the transfer, not the object.
  const encoding = (headers["content-encoding"] ?? "")
    .split(",")
    .map((coding) => coding.trim())
    .filter((coding) => coding !== "" && coding !== "aws-chunked")
  if (encoding.length > 0) kept["content-encoding"] = encoding.join(",")

  let metadataBytes = 0
  for (const [name, value] of Object.entries(headers)) {
    if (!name.startsWith("x-amz-meta-")) continue
    kept[name] = String(value)
    metadataBytes += name.length - "x-amz-meta-".length + String(value).length
  }
  if (metadataBytes > MAX_METADATA_BYTES)
    throw new S3Error("MetadataTooLarge", undefined, {
      Size: metadataBytes,
      MaxSizeAllowed: MAX_METADATA_BYTES,
    })
  return kept
}

/** Query parameters with which a reader overrides headers of the reply. */
const OVERRIDES = [
  "content-type",
  "content-language",
  "expires",
  "cache-control",
  "content-disposition",
  "content-encoding",
]

export function overriddenHeaders(query: ReadonlyMap<string, string>): Record<string, string> {
  return Object.fromEntries(
    OVERRIDES.flatMap((name) => {
      const value = query.get(`response-${name}`)
      return value === undefined ? [] : [[name, value]]
    }),
  )
}
