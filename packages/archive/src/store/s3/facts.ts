/** Facts in the SDK's errors and S3's refusals. */
import type { ErrorDetail } from "./connection/error-response.ts"

/** What the SDK's errors have in common. Errors that the store answered have a status, network errors have none. */
interface SdkError {
  readonly name: string
  readonly message: string
  readonly code?: unknown
  readonly errors?: readonly unknown[]
  readonly $metadata?: { readonly httpStatusCode?: number }
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> }
}

/** The SDK's and the store's names for expired credentials. The next renewal replaces them. */
const EXPIRED = new Set(["ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"])

const isSdkError = (error: unknown): error is SdkError =>
  error instanceof Error || (typeof error === "object" && error !== null && "message" in error)

/** The HTTP status of the store's answer; `undefined` without an answer. */
export const statusOf = (error: unknown): number | undefined =>
  isSdkError(error) ? error.$metadata?.httpStatusCode : undefined

/** The store's name for the error, e.g. `NoSuchUpload`. */
export const nameOf = (error: unknown): string => (isSdkError(error) ? error.name : "")

/** A header of the store's answer. `name` is in lower case. */
export const headerOf = (error: unknown, name: string): string | undefined =>
  isSdkError(error) ? error.$response?.headers?.[name] : undefined

/** Whether the store says that the credentials have expired. */
export const areExpired = (error: unknown): boolean => EXPIRED.has(nameOf(error))

/** Whether renewed credentials may help, because they have expired or were replaced. */
export const mayBeRenewed = (error: unknown): boolean =>
  areExpired(error) || nameOf(error) === "InvalidAccessKeyId"

/** Whether an answer of 400, 403 or 503 gives no reason, as in answers to HEAD. */
export const isNameless = (error: unknown): boolean =>
  [400, 403, 503].includes(statusOf(error) ?? 0) && /^\d+$/.test(nameOf(error))

/** The bucket's region according to the store. */
export const regionOf = (error: unknown): string | undefined =>
  [301, 400].includes(statusOf(error) ?? 0)
    ? (headerOf(error, "x-amz-bucket-region") ??
      (nameOf(error) === "AuthorizationHeaderMalformed" ? detailOf(error, "Region") : undefined))
    : undefined

/** An element of the error document. */
export function detailOf(error: unknown, name: ErrorDetail): string | undefined {
  const value = (error as Readonly<Record<string, unknown>> | null)?.[name]
  return typeof value === "string" ? value : undefined
}

/** The error's own words. For a host with several addresses, Node puts the reasons into `errors` and leaves the message empty. */
export function wordsOf(error: unknown): string {
  if (!isSdkError(error)) return "unknown reason"
  const [first] = error.errors ?? []
  const words = error.message || (isSdkError(first) ? first.message : "") || String(error.code ?? error.name)
  return printable(words)
}

export const printable = (words: string): string =>
  words
    .replaceAll(/[^\x20-\x7e]+/g, " ")
    .trim()
    .slice(0, 300)
