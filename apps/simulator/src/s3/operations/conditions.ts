import type { IncomingHttpHeaders } from "node:http"
import type { S3Request } from "../http/handler.ts"
import { S3Error } from "../http/s3-error.ts"
import type { Span } from "../storage/object-files.ts"
import type { ObjectVersion } from "../storage/object-store.ts"
import { unquote } from "../storage/uploads.ts"

const failed = (condition: string): S3Error =>
  new S3Error("PreconditionFailed", undefined, { Condition: condition })

/** Whether the list in an `If-Match` header (`*`, or ETags with or without quotes) includes `etag`. */
const names = (list: string, etag: string): boolean =>
  list.split(",").some((item) => item.trim() === "*" || unquote(item.trim()) === unquote(etag))

// HTTP dates have whole seconds.
const isAfter = (lastModified: Date, date: string): boolean =>
  Math.floor(lastModified.getTime() / 1000) * 1000 > Date.parse(date)

/** Whether the client lacks this version, by a read's conditions (RFC 9110, section 13). Throws `PreconditionFailed`. */
export function isWanted(headers: IncomingHttpHeaders, version: ObjectVersion): boolean {
  const match = headers["if-match"]
  const unmodifiedSince = headers["if-unmodified-since"]
  if (match !== undefined) {
    if (!names(match, version.etag)) throw failed("If-Match")
  } else if (unmodifiedSince !== undefined && isAfter(version.lastModified, unmodifiedSince))
    throw failed("If-Unmodified-Since")

  const noneMatch = headers["if-none-match"]
  const modifiedSince = headers["if-modified-since"]
  if (noneMatch !== undefined) return !names(noneMatch, version.etag)
  return modifiedSince === undefined || isAfter(version.lastModified, modifiedSince)
}

/** Checks the conditions of a copy's source: the same four, under their own names. */
export function checkCopyable(headers: IncomingHttpHeaders, version: ObjectVersion): void {
  const prefix = "x-amz-copy-source-if-"
  const conditions = Object.entries(headers)
    .filter(([name]) => name.startsWith(prefix))
    .map(([name, value]) => [`if-${name.slice(prefix.length)}`, String(value)])
  if (!isWanted(Object.fromEntries(conditions), version)) throw failed("x-amz-copy-source-if-*")
}

/** Checks the conditions of a write. Call it in the same turn of the event loop that replaces the object. */
export function checkWritable(
  { headers, fault }: Pick<S3Request, "headers" | "fault">,
  key: string,
  current: ObjectVersion | undefined,
): void {
  if (fault.ignoreConditions) return
  const noneMatch = headers["if-none-match"]
  const match = headers["if-match"]
  if ((noneMatch !== undefined && noneMatch !== "*") || (noneMatch !== undefined && match !== undefined))
    throw new S3Error("NotImplemented", undefined, { Header: "If-None-Match" })
  if (noneMatch !== undefined && current) throw failed("If-None-Match")
  if (match === undefined) return
  if (!current) throw new S3Error("NoSuchKey", undefined, { Key: key })
  if (!names(match, current.etag)) throw failed("If-Match")
}

/**
 * The bytes that a `Range` header requests from `size` bytes. `null` if S3 sends the whole object: without a range, for one
 * that it can't parse, or for several. Throws `InvalidRange`.
 */
export function readRange(header: string | undefined, size: number): Span | null {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? "")
  if (!match || (match[1] === "" && match[2] === "")) return null
  const [, from, to] = match
  const unsatisfiable = new S3Error("InvalidRange", undefined, {
    RangeRequested: header!,
    ActualObjectSize: size,
  })
  if (from === "") {
    const start = Math.max(size - Number(to), 0)
    if (start >= size) throw unsatisfiable
    return { start, end: size }
  }
  const start = Number(from)
  const end = to === "" ? size : Math.min(Number(to) + 1, size)
  if (to !== "" && Number(to) < start) return null
  if (start >= size) throw unsatisfiable
  return { start, end }
}
