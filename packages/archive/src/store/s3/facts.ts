/** What the SDK's errors and S3's refusals say of themselves. */
import type { AnswerDetail } from "./connection/answers.ts"

/** What the SDK's errors have in common: those that the store answered have a status, those of the network have not. */
interface SdkError {
  readonly name: string
  readonly message: string
  readonly code?: unknown
  readonly errors?: readonly unknown[]
  readonly $metadata?: { readonly httpStatusCode?: number }
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> }
}

/** By the SDK's and the store's names for credentials that have run out, which the next renewal replaces. */
const EXPIRED = new Set(["ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"])

const isSdkError = (error: unknown): error is SdkError =>
  error instanceof Error || (typeof error === "object" && error !== null && "message" in error)

/** The HTTP status that the store answered, or `undefined` if it did not answer. */
export const statusOf = (error: unknown): number | undefined =>
  isSdkError(error) ? error.$metadata?.httpStatusCode : undefined

/** The store's name for what went wrong, e.g. `NoSuchUpload`. */
export const nameOf = (error: unknown): string => (isSdkError(error) ? error.name : "")

/** A header of the store's answer; its name is in lower case. */
export const headerOf = (error: unknown, name: string): string | undefined =>
  isSdkError(error) ? error.$response?.headers?.[name] : undefined

/** Whether the store says that the credentials have run out. */
export const areExpired = (error: unknown): boolean => EXPIRED.has(nameOf(error))

/** Whether renewed credentials may help: they have run out, or were replaced. */
export const mayBeRenewed = (error: unknown): boolean =>
  areExpired(error) || nameOf(error) === "InvalidAccessKeyId"

/** Whether an answer of 400, 403 or 503 does not say why, as one to a HEAD can't. */
export const isNameless = (error: unknown): boolean =>
  [400, 403, 503].includes(statusOf(error) ?? 0) && /^\d+$/.test(nameOf(error))

/** The region in which the store says that the bucket is. */
export const regionOf = (error: unknown): string | undefined =>
  [301, 400].includes(statusOf(error) ?? 0)
    ? (headerOf(error, "x-amz-bucket-region") ??
      (nameOf(error) === "AuthorizationHeaderMalformed" ? detailOf(error, "Region") : undefined))
    : undefined

/** An element of the error document. */
export function detailOf(error: unknown, name: AnswerDetail): string | undefined {
  const value = (error as Readonly<Record<string, unknown>> | null)?.[name]
  return typeof value === "string" ? value : undefined
}

/** The error's own words. Node puts the reasons of a host with several addresses into `errors` and leaves the message empty. */
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
