import { S3Error } from "./s3-error.ts"

/** Splits the request target at the first `?`, without decoding. */
export function splitTarget(target: string): { rawPath: string; rawQuery: string } {
  const at = target.indexOf("?")
  return at < 0
    ? { rawPath: target, rawQuery: "" }
    : { rawPath: target.slice(0, at), rawQuery: target.slice(at + 1) }
}

/** Decodes percent-encoded UTF-8. Throws `InvalidURI`. */
export function percentDecode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new S3Error("InvalidURI")
  }
}

/** Escapes everything but the unreserved characters of RFC 3986, as the canonical request requires. */
export const encodeRfc3986 = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)

/** Names and values in the order sent. A name without `=` has the value "". S3 reads `+` as a space. */
export function parseQuery(rawQuery: string): [string, string][] {
  return rawQuery
    .split("&")
    .filter((pair) => pair !== "")
    .map((pair) => {
      const at = pair.indexOf("=")
      const name = at < 0 ? pair : pair.slice(0, at)
      const value = at < 0 ? "" : pair.slice(at + 1)
      return [percentDecode(name.replaceAll("+", " ")), percentDecode(value.replaceAll("+", " "))]
    })
}
