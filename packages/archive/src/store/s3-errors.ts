import { type ErrorCode, UnsealError } from "../errors.ts"

/** What the SDK's errors have in common: those that the store answered have a status, those of the network have not. */
interface SdkError {
  readonly name: string
  readonly message: string
  readonly code?: unknown
  readonly errors?: readonly unknown[]
  readonly $metadata?: { readonly httpStatusCode?: number }
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> }
}

/** The names that say more than their status does. */
const CODES_BY_NAME: Readonly<Record<string, ErrorCode>> = {
  NoSuchBucket: "ERR_STORE_DENIED",
  CredentialsProviderError: "ERR_STORE_DENIED",
  TokenProviderError: "ERR_STORE_DENIED",
  EndpointError: "ERR_STORE_DENIED",
  // The clocks differ: that is not the credentials' fault and may pass.
  RequestTimeTooSkewed: "ERR_STORE_UNAVAILABLE",
  // A body that was damaged or cut on its way: it is sent again.
  BadDigest: "ERR_STORE_UNAVAILABLE",
  InvalidDigest: "ERR_STORE_UNAVAILABLE",
  XAmzContentChecksumMismatch: "ERR_STORE_UNAVAILABLE",
  XAmzContentSHA256Mismatch: "ERR_STORE_UNAVAILABLE",
  IncompleteBody: "ERR_STORE_UNAVAILABLE",
  RequestTimeout: "ERR_STORE_UNAVAILABLE",
  // A part was written anew between listing and completing: the job lists them again.
  InvalidPart: "ERR_STORE_UNAVAILABLE",
  InvalidPartOrder: "ERR_STORE_UNAVAILABLE",
}

const isSdkError = (error: unknown): error is SdkError =>
  error instanceof Error || (typeof error === "object" && error !== null && "message" in error)

/** The HTTP status that the store answered, or `undefined` if it did not answer. */
export const statusOf = (error: unknown): number | undefined =>
  isSdkError(error) ? error.$metadata?.httpStatusCode : undefined

/** The store's name for what went wrong, e.g. `NoSuchUpload`. */
export const nameOf = (error: unknown): string => (isSdkError(error) ? error.name : "")

function codeOf(error: unknown): ErrorCode {
  const named = CODES_BY_NAME[nameOf(error)]
  if (named) return named
  const status = statusOf(error)
  if (status === undefined || status >= 500 || [408, 409, 412, 425, 429].includes(status))
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
  return new UnsealError(codeOf(error), describe(error, operation, where), { cause: error })
}

function describe(error: unknown, operation: string, where: string): string {
  const name = nameOf(error)
  const status = statusOf(error)
  const bucket = where.split("/", 3).join("/")
  if (name === "NoSuchBucket")
    return `bucket ${bucket} does not exist (${operation} of ${where} answered ${status ?? 404})`
  if (name === "CredentialsProviderError" || name === "TokenProviderError")
    return `no usable credentials for ${where}: ${wordsOf(error)}`
  if (status === undefined) return `${where} did not answer ${operation}: ${wordsOf(error)}`
  const region = isSdkError(error) ? error.$response?.headers?.["x-amz-bucket-region"] : undefined
  const advice =
    status === 301 && region
      ? ` (the bucket is in region ${printable(region)})`
      : status === 403 && ["HeadObject", "GetObject"].includes(operation)
        ? " (without the permission to list the bucket, S3 answers 403 for a key that does not exist, too)"
        : ""
  // A HEAD has no body to name the error: the SDK then repeats the status, or says that it is unknown.
  const title = /^(\d+|Unknown.*|Error)$/.test(name) ? "" : ` ${name}`
  const words = wordsOf(error)
  return `${operation} of ${where} answered ${status}${title}${/^(Unknown.*|)$/.test(words) || words === name ? "" : `: ${words}`}${advice}`
}

/** The error's own words. Node puts the reasons of a host with several addresses into `errors` and leaves the message empty. */
function wordsOf(error: unknown): string {
  if (!isSdkError(error)) return "unknown reason"
  const [first] = error.errors ?? []
  const words = error.message || (isSdkError(first) ? first.message : "") || String(error.code ?? error.name)
  return printable(words)
}

const printable = (words: string): string =>
  words
    .replaceAll(/[^\x20-\x7e]+/g, " ")
    .trim()
    .slice(0, 300)
