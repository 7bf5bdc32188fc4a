/** What an HTTPS host's answer says about the object, and the errors for unexpected answers. */
import type { IncomingMessage } from "node:http"
import { UnsealError } from "../../errors.ts"
import { retryAfterMs } from "../http/retry-after.ts"
import { troubled } from "./trouble.ts"

/** The whole object's size, from the answer to a request for its first `length` bytes. `null` if the answer does not tell. */
export function objectSizeIn({ statusCode, headers }: IncomingMessage, length: number): number | null {
  const range = headers["content-range"] ?? ""
  if (statusCode === 206) {
    const [, last, size] = /^bytes 0-(\d{1,15})\/(\d{1,20})$/.exec(range) ?? []
    return Number(last) + 1 === Math.min(length, Number(size)) ? Number(size) : null
  }
  // An empty object has no first byte: the range can't be satisfied, or is ignored.
  if (statusCode === 416 && range === "bytes */0") return 0
  return statusCode === 200 && headers["content-length"] === "0" ? 0 : null
}

const DATE = "last-modified: "

/** The version in an answer: its ETag, or its date if the ETag is weak, because two versions may share a weak one. */
export function versionOf({ headers }: IncomingMessage): string | null {
  const { etag, "last-modified": modified } = headers
  // An empty ETag would name every version alike.
  if (etag !== undefined && /[^"]/.test(etag) && !etag.startsWith("W/")) return etag
  return modified === undefined ? null : `${DATE}${modified}`
}

/** The condition that ties a request to `version`. */
export function pinOf(version: string): Record<string, string> {
  if (version.startsWith(DATE)) return { "if-unmodified-since": version.slice(DATE.length) }
  return { "if-match": version }
}

/** The error for an unexpected answer. `what` says what was requested. */
export function unexpectedResponse(
  key: string,
  { statusCode: status = 0, statusMessage, headers }: IncomingMessage,
  what: string,
): UnsealError {
  const pauseMs = retryAfterMs(headers["retry-after"])
  const isBusy =
    status === 429 || (status === 503 && (pauseMs !== undefined || statusMessage === "Slow Down"))
  if (isBusy) return new UnsealError("ERR_STORE_BUSY", `${key}: ${what}`, { retryAfterMs: pauseMs })
  // A refusal for another reason than the URL's age is final.
  const refused = status >= 400 && status < 500 && ![408, 425].includes(status)
  return new UnsealError(refused ? "ERR_STORE_DENIED" : "ERR_STORE_UNAVAILABLE", `${key}: ${what}`)
}

/** The error for a whole answer to a range request: a login or share page, or a host without ranges. */
export function unranged(key: string, { headers }: IncomingMessage): UnsealError {
  const isPage = /^(text\/html|application\/xhtml\+xml)\b/i.test(headers["content-type"] ?? "")
  return new UnsealError(
    "ERR_STORE_DENIED",
    isPage
      ? `${key} is a web page (text/html), not an archive`
      : `${key} can't be read in ranges: its host answered 200 instead of 206`,
    troubled(isPage ? "page" : "no-ranges"),
  )
}
