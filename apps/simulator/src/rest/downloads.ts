/**
 * The vendor's download storage: `available` archives behind URLs that expire. A URL is signed over key and expiry. Ranges,
 * conditions and refusals are answered as an object store answers them.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto"
import type { IncomingMessage, ServerResponse } from "node:http"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import type { ArchiveStore } from "@unseal/archive/store/contract"
import { copied } from "@unseal/archive/store/small-object"

export interface DownloadOptions {
  readonly store: ArchiveStore
  /** How long a URL is valid. The vendor's last ten minutes. */
  readonly lifetimeMs: number
  /** Scheme, host and port of the URLs. Called for each URL, because a server learns its port only when it listens. */
  baseUrl(): string
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: (() => number) | undefined
}

export interface Downloads {
  urlOf(archive: { readonly key: string }): string
  answer(request: IncomingMessage, response: ServerResponse): Promise<void>
}

const PATH = "/archives/"

export function createDownloads({ store, lifetimeMs, baseUrl, now = Date.now }: DownloadOptions): Downloads {
  const secret = randomBytes(32)
  const signatureOf = (key: string, expires: string): Buffer =>
    createHmac("sha256", secret).update(`${expires}\n${key}`).digest()

  /** The key that the request's URL was made for, or the reason to refuse it. */
  function keyOf(url: URL): { key: string } | { refused: string } {
    const key = decodeURIComponent(url.pathname.slice(PATH.length))
    const expires = url.searchParams.get("Expires") ?? ""
    const signature = Buffer.from(url.searchParams.get("Signature") ?? "", "base64url")
    const expected = signatureOf(key, expires)
    if (signature.length !== expected.length || !timingSafeEqual(signature, expected))
      return { refused: "the signature is wrong" }
    return Number(expires) <= now() ? { refused: "the URL has expired" } : { key }
  }

  return {
    urlOf({ key }) {
      const expires = String(now() + lifetimeMs)
      const query = new URLSearchParams({
        Expires: expires,
        Signature: signatureOf(key, expires).toString("base64url"),
      })
      return `${baseUrl()}${PATH}${key.split("/").map(encodeURIComponent).join("/")}?${query}`
    },

    async answer(request, response) {
      const url = URL.parse(request.url ?? "", "http://localhost")
      if (!["GET", "HEAD"].includes(request.method ?? "")) return refuse(response, 405, "only GET and HEAD")
      if (!url?.pathname.startsWith(PATH)) return refuse(response, 404, "no such archive")
      const found = keyOf(url)
      if ("refused" in found) return refuse(response, 403, found.refused)
      const gone = new AbortController()
      response.once("close", () => gone.abort(new Error("the connection was closed")))
      const object = await store.stat(found.key, gone.signal)
      if (object === null) return refuse(response, 404, "no such archive")

      const etag = `"${object.etag}"`
      const wanted = request.headers["if-match"]
      if (wanted !== undefined && wanted !== "*" && wanted !== etag)
        return refuse(response, 412, "another version")
      const range = parseRange(request.headers.range, object.size)
      if (range === null) {
        response.setHeader("content-range", `bytes */${object.size}`)
        return refuse(response, 416, "the range is not in the archive")
      }
      response.writeHead(range.partial ? 206 : 200, {
        "content-type": "video/mp2t",
        "content-length": range.end - range.start,
        "accept-ranges": "bytes",
        etag,
        ...(range.partial && { "content-range": `bytes ${range.start}-${range.end - 1}/${object.size}` }),
      })
      if (request.method === "HEAD" || range.start === range.end) return void response.end()
      await pipeline(Readable.from(copied(store.read(object, range, gone.signal))), response)
    },
  }
}

/** A single byte range (RFC 9110, section 14.1.2). Without one, the whole object; `null` for a range outside it. */
function parseRange(
  header: string | undefined,
  size: number,
): { start: number; end: number; partial: boolean } | null {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "")
  if (!match || (match[1] === "" && match[2] === "")) return { start: 0, end: size, partial: false }
  const [, first = "", last = ""] = match
  const start = first === "" ? Math.max(0, size - Number(last)) : Number(first)
  const end = first === "" || last === "" ? size : Math.min(size, Number(last) + 1)
  return start < end ? { start, end, partial: true } : null
}

function refuse(response: ServerResponse, status: number, reason: string): void {
  response.writeHead(status, { "content-type": "text/plain" }).end(`${reason}\n`)
}
