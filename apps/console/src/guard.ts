/** What every request must satisfy, and what every response says, before anything else is checked. */
import type { IncomingMessage } from "node:http"
import { isIP } from "node:net"

/** Where a browser thinks it is. */
export interface Origin {
  readonly origin: string
  /** Whether the browser speaks TLS with whoever is in front. */
  readonly secure: boolean
}

/**
 * The origin of a request to `host` (the header), or `null` if the console has no such name. It answers to its public URL, to
 * addresses and to `localhost`: a page of another site can make a browser send requests here under that site's own name (DNS
 * rebinding), and only under that.
 */
export function originOf(host: string | undefined, publicUrl: URL | undefined): Origin | null {
  if (host === undefined) return null
  if (publicUrl !== undefined && host.toLowerCase() === publicUrl.host)
    return { origin: publicUrl.origin, secure: publicUrl.protocol === "https:" }
  const url = URL.parse(`http://${host}`)
  if (url === null || url.host !== host.toLowerCase() || url.pathname !== "/") return null
  const name = url.hostname.replace(/^\[(.*)\]$/, "$1")
  return isIP(name) !== 0 || name === "localhost" ? { origin: url.origin, secure: false } : null
}

/** Whether a request that changes something comes from one of our own pages, by what the browser says. */
export function isFromOwnPage(request: Pick<IncomingMessage, "headers">, { origin }: Origin): boolean {
  const { origin: given, "sec-fetch-site": site } = request.headers
  if (given !== undefined) return given === origin
  return site === "same-origin"
}

/** For every response. Nothing is kept, framed, or loaded from elsewhere; scripts and styles are our own files. */
export const HEADERS: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "content-security-policy": [
    ...[
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "img-src 'self'",
      "connect-src 'self'",
    ],
    ...["form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"],
  ].join("; "),
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
  // Browsers leave the origin out of a form's request under a stricter one.
  "referrer-policy": "same-origin",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
}
