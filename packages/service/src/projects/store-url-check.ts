const SCHEMES = ["s3:", "azure:", "file:"]

/** Replaces the colons of an access point's ARN by dots, because a URL parser would take them for a port. */
const readable = (text: string): string =>
  text.replace(
    /^(s3:\/\/)(arn:[^/?#]*)/i,
    (_, scheme: string, arn: string) => scheme + arn.replaceAll(":", "."),
  )

/** What is wrong with `text` as a store URL, as a clause, or `null`. Does not repeat the URL: its query may hold a credential. */
export function storeUrlProblem(text: string): string | null {
  if (!URL.canParse(readable(text)))
    return "is not a URL: s3://bucket/prefix, azure://container/prefix or file:///directory"
  const url = new URL(readable(text))
  if (!SCHEMES.includes(url.protocol))
    return `has the scheme ${url.protocol}// where s3://, azure:// or file:// is needed`
  if (url.username || url.password)
    return "holds a credential: those come from the SDK's own chain, or from a named profile"
  if (decoded(url.pathname) === null) return "holds a % that begins no UTF-8 escape"
  if (url.hash) return "has a fragment (#), which no store has"
  if (url.protocol === "file:")
    return url.host === "" ? null : "names a host: a directory is file:///directory"
  return url.host === "" ? `names no ${url.protocol === "s3:" ? "bucket" : "container"}` : null
}

function decoded(path: string): string | null {
  try {
    return decodeURIComponent(path)
  } catch {
    return null
  }
}

/**
 * Identifies the place of `template` in the store `storeUrl`. Equal for the same place, however bucket and prefix are divided
 * between the two. Settings that only say how to get there (region, profile) don't count.
 */
export function placeKeyOf(storeUrl: string, template: string): string {
  const url = new URL(readable(storeUrl))
  const place = ["endpoint", "account"].map((name) => url.searchParams.get(name) ?? "")
  const path = `${decoded(url.pathname)}/${template}`.replace(/\/+/g, "/")
  return [url.protocol, url.host, ...place, path].join(" ")
}
