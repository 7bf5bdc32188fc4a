import { type ErrorCode, UnsealError } from "../../errors.ts"
import { SilentError, TooSlowError } from "../http/pace.ts"
import { retryAfterMs } from "../http/retry-after.ts"
import { CredentialsError } from "./connection/credentials.ts"
import { areExpired, detailOf, headerOf, nameOf, printable, regionOf, statusOf, wordsOf } from "./facts.ts"
import { missingPermission, s3Remedy } from "./remedies.ts"

/** Names that say more than their status, whatever it is: 400, 403 or 503. */
const CODES_BY_NAME: Readonly<Record<string, ErrorCode>> = {
  NoSuchBucket: "ERR_STORE_DENIED",
  EndpointError: "ERR_STORE_DENIED",
  InvalidObjectState: "ERR_OBJECT_ARCHIVED",
  NoSuchUpload: "ERR_UPLOAD_GONE",
  // The clocks differ. That is not the credentials' fault and may pass.
  RequestTimeTooSkewed: "ERR_STORE_UNAVAILABLE",
  // The bucket is new, and its name is not known everywhere yet.
  TemporaryRedirect: "ERR_STORE_UNAVAILABLE",
  // The body was damaged or cut in transit. It is sent again.
  BadDigest: "ERR_STORE_UNAVAILABLE",
  InvalidDigest: "ERR_STORE_UNAVAILABLE",
  XAmzContentChecksumMismatch: "ERR_STORE_UNAVAILABLE",
  XAmzContentSHA256Mismatch: "ERR_STORE_UNAVAILABLE",
  IncompleteBody: "ERR_STORE_UNAVAILABLE",
  // A part was rewritten between listing and completing. The job lists the parts again.
  InvalidPart: "ERR_STORE_UNAVAILABLE",
  InvalidPartOrder: "ERR_STORE_UNAVAILABLE",
}

/**
 * Names of a refusal for the rate of requests, at S3, the services behind it, and its imitations, without the suffix
 * `Exception`.
 */
const BUSY = new Set(
  [
    "SlowDown SlowDownRead SlowDownWrite Throttling Throttled RequestThrottled TooManyRequests RequestLimitExceeded",
    "BandwidthLimitExceeded LimitExceeded RateLimitExceeded ProvisionedThroughputExceeded PriorRequestNotComplete",
    "EC2Throttled ServerBusy",
  ].flatMap((line) => line.split(" ")),
)
/** Names of troubles that pass. */
const PASSING = new Set(
  [
    "ServiceUnavailable RequestTimeout InternalError InternalFailure InternalServerError InternalServer ServiceFailure",
    "OperationAborted OperationTimedOut DependencyTimeout KMSInternal KeyUnavailable",
  ].flatMap((line) => line.split(" ")),
)

/** How long the answer asks to wait, in milliseconds. */
const pauseOf = (error: unknown): number | undefined => retryAfterMs(headerOf(error, "retry-after"))

function codeOf(error: unknown): ErrorCode {
  const name = nameOf(error)
  if (error instanceof CredentialsError) return error.isWrong ? "ERR_STORE_DENIED" : "ERR_STORE_UNAVAILABLE"
  const named = CODES_BY_NAME[name]
  if (named) return named
  const cause = name.replace(/^KMS\./, "").replace(/Exception$/, "")
  const status = statusOf(error)
  // Without Retry-After, a 503 may come from a store that is down.
  const isBusy = status === 429 || (status === 503 && pauseOf(error) !== undefined)
  if (BUSY.has(cause) || isBusy) return "ERR_STORE_BUSY"
  if (PASSING.has(cause)) return "ERR_STORE_UNAVAILABLE"
  if (status === undefined || status >= 500 || [307, 408, 409, 412, 425].includes(status))
    return "ERR_STORE_UNAVAILABLE"
  if (status === 404) return "ERR_OBJECT_NOT_FOUND"
  // An error with a status below 300 is an answer that could not be read.
  return status < 300 ? "ERR_STORE_UNAVAILABLE" : "ERR_STORE_DENIED"
}

/**
 * Translates what the SDK threw for `operation` on `where` (`s3://bucket/key`). An abort of `signal` becomes its reason, and a
 * translated error stays as it is. The message has status, name and the store's words, but never headers or a query.
 */
export function s3Error(error: unknown, operation: string, where: string, signal?: AbortSignal): unknown {
  if (signal?.aborted) return signal.reason
  if (error instanceof UnsealError) return error
  return new UnsealError(codeFor(operation, codeOf(error)), describe(error, operation, where), {
    cause: error,
    retryAfterMs: pauseOf(error),
    refused: [401, 403].includes(statusOf(error) ?? 0),
    slow: error instanceof TooSlowError,
    silent: error instanceof SilentError,
    remedy: s3Remedy(error, operation),
  })
}

/** What a 404 without a name means. Only a look or a read can find a key missing. */
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
  // A HEAD has no body to name the error. The SDK then repeats the status, or says that it is unknown.
  const title = /^(\d+|Unknown.*|Error)$/.test(name) ? "" : ` ${name}`
  const quoted = /^(Unknown.*|)$/.test(words) || words === name ? "" : `: ${words}`
  return `${operation} of ${where} answered ${status}${title}${quoted}${adviceOn(error, operation)}`
}

/** A clause in parentheses that says whose move it is, if the numbers don't. */
function adviceOn(error: unknown, operation: string): string {
  const region = regionOf(error)
  if (region !== undefined) return ` (the bucket is in region ${printable(region)})`
  if (areExpired(error)) return " (the credentials have run out: whoever issues them must renew them)"
  if (nameOf(error) === "RequestTimeTooSkewed")
    return " (set the clock of this machine, or of the store, right)"
  const permission = missingPermission(error, operation)
  if (permission === null || wordsOf(error).includes(permission)) return ""
  // The refusal does not say which of the two is at fault.
  const payer =
    permission === "s3:GetObject"
      ? ", and requestPayer=requester in the store's URL if its readers pay for the bucket"
      : ""
  return ` (this needs the permission ${permission}${payer})`
}
