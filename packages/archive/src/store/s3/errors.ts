import { type ErrorCode, UnsealError } from "../../errors.ts"
import { TooSlowError } from "../http/pace.ts"
import { retryAfterMs } from "../http/retry-after.ts"
import { CredentialsError } from "./connection/credentials.ts"
import { areExpired, detailOf, headerOf, nameOf, printable, regionOf, statusOf, wordsOf } from "./facts.ts"
import { missingPermission, s3Remedy } from "./remedies.ts"

/** The names that say more than their status does, whatever the status is: 400, 403 and 503 alike. */
const CODES_BY_NAME: Readonly<Record<string, ErrorCode>> = {
  NoSuchBucket: "ERR_STORE_DENIED",
  EndpointError: "ERR_STORE_DENIED",
  InvalidObjectState: "ERR_OBJECT_ARCHIVED",
  NoSuchUpload: "ERR_UPLOAD_GONE",
  // The clocks differ: that is not the credentials' fault and may pass.
  RequestTimeTooSkewed: "ERR_STORE_UNAVAILABLE",
  // The bucket is new, and its name not yet known everywhere.
  TemporaryRedirect: "ERR_STORE_UNAVAILABLE",
  // A body that was damaged or cut on its way: it is sent again.
  BadDigest: "ERR_STORE_UNAVAILABLE",
  InvalidDigest: "ERR_STORE_UNAVAILABLE",
  XAmzContentChecksumMismatch: "ERR_STORE_UNAVAILABLE",
  XAmzContentSHA256Mismatch: "ERR_STORE_UNAVAILABLE",
  IncompleteBody: "ERR_STORE_UNAVAILABLE",
  // A part was written anew between listing and completing: the job lists them again.
  InvalidPart: "ERR_STORE_UNAVAILABLE",
  InvalidPartOrder: "ERR_STORE_UNAVAILABLE",
}

/** Names of a refusal for the rate of requests, of S3, the services behind it, and its imitations; `…Exception` is cut off. */
const BUSY = new Set(
  [
    "SlowDown SlowDownRead SlowDownWrite Throttling Throttled RequestThrottled TooManyRequests RequestLimitExceeded",
    "BandwidthLimitExceeded LimitExceeded RateLimitExceeded ProvisionedThroughputExceeded PriorRequestNotComplete",
    "EC2Throttled ServerBusy",
  ].flatMap((line) => line.split(" ")),
)
/** Names of a trouble that passes. */
const PASSING = new Set(
  [
    "ServiceUnavailable RequestTimeout InternalError InternalFailure InternalServerError InternalServer ServiceFailure",
    "OperationAborted OperationTimedOut DependencyTimeout KMSInternal KeyUnavailable",
  ].flatMap((line) => line.split(" ")),
)

/** How long the answer asks to be left alone, in milliseconds. */
const pauseOf = (error: unknown): number | undefined => retryAfterMs(headerOf(error, "retry-after"))

function codeOf(error: unknown): ErrorCode {
  const name = nameOf(error)
  if (error instanceof CredentialsError) return error.isWrong ? "ERR_STORE_DENIED" : "ERR_STORE_UNAVAILABLE"
  const named = CODES_BY_NAME[name]
  if (named) return named
  const cause = name.replace(/^KMS\./, "").replace(/Exception$/, "")
  const status = statusOf(error)
  // A 503 alone may be a store that is down.
  const isBusy = status === 429 || (status === 503 && pauseOf(error) !== undefined)
  if (BUSY.has(cause) || isBusy) return "ERR_STORE_BUSY"
  if (PASSING.has(cause)) return "ERR_STORE_UNAVAILABLE"
  if (status === undefined || status >= 500 || [307, 408, 409, 412, 425].includes(status))
    return "ERR_STORE_UNAVAILABLE"
  if (status === 404) return "ERR_OBJECT_NOT_FOUND"
  // A status below 300 with an error is an answer that could not be read.
  return status < 300 ? "ERR_STORE_UNAVAILABLE" : "ERR_STORE_DENIED"
}

/**
 * Translates what the SDK threw for `operation` on `where` (`s3://bucket/key`). An abort of `signal` becomes its reason, and
 * what is translated already stays as it is. The message has status, name and the store's words; never headers or a query.
 */
export function s3Error(error: unknown, operation: string, where: string, signal?: AbortSignal): unknown {
  if (signal?.aborted) return signal.reason
  if (error instanceof UnsealError) return error
  return new UnsealError(codeFor(operation, codeOf(error)), describe(error, operation, where), {
    cause: error,
    retryAfterMs: pauseOf(error),
    refused: [401, 403].includes(statusOf(error) ?? 0),
    slow: error instanceof TooSlowError,
    remedy: s3Remedy(error, operation),
  })
}

/** What a 404 without a name means: a key that is not there is something for a look or a read to find. */
function codeFor(operation: string, code: ErrorCode): ErrorCode {
  if (code !== "ERR_OBJECT_NOT_FOUND") return code
  if (/^(UploadPart|ListParts|CompleteMultipartUpload|AbortMultipartUpload)\b/.test(operation))
    return "ERR_UPLOAD_GONE"
  return /^(PutObject|CreateMultipartUpload)\b/.test(operation) ? "ERR_STORE_UNAVAILABLE" : code
}

function describe(error: unknown, operation: string, where: string): string {
  const name = nameOf(error)
  const status = statusOf(error)
  const words = wordsOf(error)
  if (name === "NoSuchBucket") {
    const bucket = where.split("/", 3).join("/")
    return `bucket ${bucket} does not exist (${operation} of ${where} answered ${status ?? 404})`
  }
  if (error instanceof CredentialsError)
    return error.isWrong
      ? `no usable credentials for ${where}: ${words}`
      : `no credentials for ${where} are available at the moment: ${words}`
  if (name === "InvalidObjectState") {
    const storageClass = printable(detailOf(error, "StorageClass") ?? "an archival class")
    return `${where} is in the storage class ${storageClass} and can't be read before it is restored (${operation} answered ${status ?? 403} ${name})`
  }
  if (status === undefined) return `${where} did not answer ${operation}: ${words}`
  // A HEAD has no body to name the error: the SDK then repeats the status, or says that it is unknown.
  const title = /^(\d+|Unknown.*|Error)$/.test(name) ? "" : ` ${name}`
  const quoted = /^(Unknown.*|)$/.test(words) || words === name ? "" : `: ${words}`
  return `${operation} of ${where} answered ${status}${title}${quoted}${adviceOn(error, operation)}`
}

/** In parentheses, what the numbers do not tell: whose move it is. */
function adviceOn(error: unknown, operation: string): string {
  const region = regionOf(error)
  if (region !== undefined) return ` (the bucket is in region ${printable(region)})`
  if (areExpired(error)) return " (the credentials have run out: whoever issues them must renew them)"
  if (nameOf(error) === "RequestTimeTooSkewed")
    return " (set the clock of this machine, or of the store, right)"
  const permission = missingPermission(error, operation)
  if (permission === null || wordsOf(error).includes(permission)) return ""
  // The refusal does not say which of the two it is.
  const payer =
    permission === "s3:GetObject"
      ? ", and requestPayer=requester in the store's URL if its readers pay for the bucket"
      : ""
  return ` (this needs the permission ${permission}${payer})`
}
