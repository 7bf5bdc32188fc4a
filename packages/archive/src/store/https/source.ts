/**
 * One read-only object behind an HTTPS URL: the copy that the vendor keeps for a while (`url` of an `available` archive), or a
 * URL given on the command line.
 *
 * It relies on: ranged GETs answered with 206, and an ETag, or at least a Last-Modified, that identifies the version. It never
 * sends HEAD, because a presigned URL permits one method. It follows at most five redirects by itself, and every hop must
 * meet the same rules: https, an allowed host, a public address (allowed-hosts.ts).
 *
 * The query of such a URL is its credential: no message, key or location contains it.
 */
import { lookup } from "node:dns"
import type { IncomingMessage } from "node:http"
import { request } from "node:https"
import { counted } from "../../counted.ts"
import { type ErrorCode, UnsealError } from "../../errors.ts"
import type { ByteRange } from "../../format/parts.ts"
import type { OpenedObject, OpenedStore, StoredObject } from "../contract.ts"
import { type ExchangeObserver, observeUrl } from "../http/exchanges.ts"
import { createPace, graceMs, SilentError, TooSlowError } from "../http/pace.ts"
import { readProxies } from "../http/proxy.ts"
import { type StoreRequest, withObservedRequests } from "../observed.ts"
import { DEFAULT_IDLE_TIMEOUT_MS } from "../options.ts"
import { RequestLimit } from "../requests/limit.ts"
import { withRequestLimit } from "../requests/limited.ts"
import { withRetries } from "../requests/retry.ts"
import { ProxiedAgent } from "./agent.ts"
import { AddressRefused, type HostRule, publicLookup, refusalOf } from "./allowed-hosts.ts"
import { objectSizeIn, pinOf, unexpectedResponse, unranged, versionOf } from "./response.ts"
import { connectionError, troubled } from "./trouble.ts"

export interface HttpsStoreOptions {
  /** The object's name in messages and records: without secrets, and the same in every run. */
  readonly key: string
  /** If absent, `renew` is called first. */
  readonly url?: string | undefined
  /**
   * Gets a valid URL in place of an expired one; `null` if there is none any more. Called once, however many requests find the URL
   * expired. Without it, an expired URL is `ERR_STORE_DENIED`.
   */
  readonly renew?: ((signal: AbortSignal) => Promise<string | null>) | undefined
  /** The environment, for its proxy settings. Without it no proxy is used. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  /** The allowed hosts. If absent, all hosts and addresses are allowed: the user who named the URL runs this process. */
  readonly hosts?: readonly HostRule[] | undefined
  /** How long a connection may be silent before it is given up. Default 30 s. */
  readonly idleTimeoutMs?: number | undefined
  /** The limit on requests in flight, if several objects of one host share it. */
  readonly limit?: RequestLimit | undefined
  /** Called after each request, for the metric. */
  readonly onRequest?: ((request: StoreRequest) => void) | undefined
  /** Called before each retry of a request, for the metric. */
  readonly onRetry?: ((code: ErrorCode) => void) | undefined
  /** Called with each HTTP request, as it goes out. */
  readonly onExchange?: ExchangeObserver | undefined
}

type RequestHeaders = Readonly<Record<string, string>>

const MAX_REDIRECTS = 5
const REDIRECTS = [301, 302, 303, 307, 308]
/** Answers to an expired URL: S3 and CloudFront say 403, others 401 or 410. */
const EXPIRED = [401, 403, 410]

/** A store that holds the one object `options.key`, with the request layer's retries. Sends nothing yet. */
export function openHttpsStore(options: HttpsStoreOptions): OpenedStore {
  const { key, hosts, idleTimeoutMs = DEFAULT_IDLE_TIMEOUT_MS } = options
  const findProxy = readProxies(options.env ?? {})
  const agent = new ProxiedAgent(
    { keepAlive: true, ...(hosts && { lookup: publicLookup(lookup) }) },
    findProxy,
    idleTimeoutMs,
  )
  const readOnly = () =>
    new UnsealError("ERR_STORE_DENIED", `${key} is read over https, and can't be written`)
  const refuse = async () => {
    throw readOnly()
  }
  let current = options.url
  let renewing: Promise<string> | undefined

  /** Replaces the URL `expired`, with the one that another request has already got, or with a new one. */
  async function renew(expired: string | undefined, signal: AbortSignal, status?: number): Promise<string> {
    if (current !== undefined && current !== expired) return current
    renewing ??= askForUrl(signal, status).finally(() => {
      renewing = undefined
    })
    return renewing
  }

  async function askForUrl(signal: AbortSignal, status?: number): Promise<string> {
    if (options.renew === undefined)
      throw new UnsealError(
        "ERR_STORE_DENIED",
        `${key} answered ${status}: its URL is wrong or has expired, and nobody can renew it`,
        troubled("url"),
      )
    const url = await options.renew(signal)
    if (url === null) throw new UnsealError("ERR_OBJECT_NOT_FOUND", `${key} has no URL any more`)
    current = url
    return url
  }

  /** The answer to a GET with `headers`, whatever its status, except expiry. The caller must read or destroy its body. */
  async function ask(headers: RequestHeaders, signal: AbortSignal): Promise<IncomingMessage> {
    const first = current ?? (await renew(undefined, signal))
    const response = await follow(first, headers, signal)
    if (!EXPIRED.includes(response.statusCode ?? 0)) return response
    response.destroy()
    const again = await follow(await renew(first, signal, response.statusCode), headers, signal)
    if (!EXPIRED.includes(again.statusCode ?? 0)) return again
    again.destroy()
    throw new UnsealError("ERR_STORE_DENIED", `${key} answered ${again.statusCode} again, with a new URL`)
  }

  async function follow(
    from: string,
    headers: RequestHeaders,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    let url = URL.parse(from)
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const refusal = url === null ? "it is not a URL" : refusalOf(url, hosts)
      if (url === null || refusal !== null)
        throw new UnsealError(
          "ERR_STORE_DENIED",
          `${key} may not be fetched: ${hops > 0 ? `a redirect leads to ${url === null ? "nowhere" : `${url.protocol}//${url.host}`}: ` : ""}${refusal}`,
          hops > 0 ? troubled("redirect") : troubled("forbidden"),
        )
      const response = await get(url, headers, signal)
      if (!REDIRECTS.includes(response.statusCode ?? 0)) return response
      response.destroy()
      url = URL.parse(response.headers.location ?? "", url)
    }
    throw new UnsealError(
      "ERR_STORE_DENIED",
      `${key} was redirected more than ${MAX_REDIRECTS} times, last to ${url?.host || "nowhere"}`,
      troubled("redirect"),
    )
  }

  function get(url: URL, headers: RequestHeaders, signal: AbortSignal): Promise<IncomingMessage> {
    signal.throwIfAborted()
    const end = observeUrl(options.onExchange, "GET", url)
    return new Promise((resolve, reject) => {
      const asking = request(url, { agent, signal, headers: { "accept-encoding": "identity", ...headers } })
      const idle = setTimeout(() => asking.destroy(new SilentError(idleTimeoutMs)), idleTimeoutMs)
      asking.once("response", (response) => {
        clearTimeout(idle)
        response.once("close", () => end({ status: response.statusCode, error: response.errored }))
        resolve(response)
      })
      asking.once("error", (error) => {
        clearTimeout(idle)
        end({ error })
        reject(translate(error, signal, url.host))
      })
      asking.end()
    })
  }

  function translate(error: unknown, signal: AbortSignal, host?: string): unknown {
    if (signal.aborted) return signal.reason
    if (error instanceof UnsealError) return error
    if (error instanceof AddressRefused)
      return new UnsealError(
        "ERR_STORE_DENIED",
        `${key} may not be fetched: ${error.message}`,
        troubled("forbidden"),
      )
    const { code, message } = error as NodeJS.ErrnoException
    const slow = error instanceof TooSlowError
    const known = host === undefined ? null : connectionError(key, error as NodeJS.ErrnoException, host)
    if (known !== null) return known
    const reason = error instanceof SilentError || slow ? message : (code ?? message)
    return new UnsealError("ERR_STORE_UNAVAILABLE", `${key} could not be fetched: ${reason}`, {
      cause: error,
      slow,
      silent: error instanceof SilentError,
    })
  }

  async function stat(asked: string, signal: AbortSignal): Promise<StoredObject | null> {
    const opened = await open(asked, 1, signal)
    opened?.close()
    return opened?.object ?? null
  }

  async function open(asked: string, length: number, signal: AbortSignal): Promise<OpenedObject | null> {
    if (asked !== key) return null
    const response = await ask({ range: `bytes=0-${length - 1}` }, signal)
    // Until somebody reads the body, nobody else would notice that it broke.
    response.on("error", () => {})
    try {
      const status = response.statusCode ?? 0
      if (status === 404) {
        response.destroy()
        return null
      }
      const size = objectSizeIn(response, length)
      if (size === null && status === 200) throw unranged(key, response)
      if (size === null)
        throw wrong(response, `its size is not in its answer (${status}) to a ranged request`)
      const etag = versionOf(response)
      if (etag === null)
        throw new UnsealError(
          "ERR_STORE_DENIED",
          `${key} has neither an ETag nor a Last-Modified, so its version can't be pinned`,
        )
      const object = { key, size, etag, metadata: {} }
      const head = pieces(response, status === 206 ? Math.min(length, size) : 0, signal)
      return { object, head, close: () => void response.destroy() }
    } catch (error) {
      response.destroy()
      throw error
    }
  }

  async function* read(object: StoredObject, range: ByteRange, signal: AbortSignal) {
    const { start, end } = range
    const response = await ask({ range: `bytes=${start}-${end - 1}`, ...pinOf(object.etag) }, signal)
    try {
      const status = response.statusCode ?? 0
      if (status === 404) throw new UnsealError("ERR_OBJECT_NOT_FOUND", `${key} is gone`)
      if (status === 412 || (status === 206 && versionOf(response) !== object.etag))
        throw new UnsealError(
          "ERR_OBJECT_CHANGED",
          `${key} is no longer the version of ${counted(object.size, "byte")} with ETag ${object.etag}`,
        )
      const contentRange = `bytes ${start}-${end - 1}/${object.size}`
      if (status !== 206) throw wrong(response, `it answered ${status} instead of 206`)
      if (response.headers["content-range"] !== contentRange)
        throw wrong(response, `Content-Range is ${response.headers["content-range"]}, not ${contentRange}`)
    } catch (error) {
      response.destroy()
      throw error
    }
    yield* pieces(response, end - start, signal)
  }

  const wrong = (response: IncomingMessage, what: string) => unexpectedResponse(key, response, what)

  /** The body of `response`, which must be `length` bytes. */
  async function* pieces(response: IncomingMessage, length: number, signal: AbortSignal) {
    let idle: NodeJS.Timeout | undefined
    try {
      // An answer about an empty object may have a body of its own.
      if (length === 0) return
      const wait = () => {
        idle = setTimeout(() => response.destroy(new SilentError(idleTimeoutMs)), idleTimeoutMs)
      }
      const pace = createPace(graceMs(idleTimeoutMs), undefined, undefined, idleTimeoutMs)
      let received = 0
      wait()
      pace.run()
      for await (const chunk of response as AsyncIterable<Uint8Array>) {
        // While the consumer works nothing can move. That is not the host's fault.
        clearTimeout(idle)
        if (!pace.moved(chunk.length)) throw new TooSlowError()
        pace.hold()
        received += chunk.length
        if (received > length) break
        yield chunk
        signal.throwIfAborted()
        pace.run()
        wait()
      }
      if (received !== length) throw wrong(response, `${counted(received, "byte")} came instead of ${length}`)
    } catch (error) {
      throw translate(error, signal)
    } finally {
      clearTimeout(idle)
      // An answer read to its end has already released its connection.
      response.destroy()
    }
  }

  const store: OpenedStore = {
    location: key,
    stat,
    open,
    read,
    partSizeFor() {
      throw readOnly()
    },
    create: refuse,
    // biome-ignore lint/correctness/useYield: there is nothing to list.
    async *openUploads() {
      throw readOnly()
    },
    abortUpload: refuse,
    remove: refuse,
    async close() {
      agent.destroy()
    },
  }
  const { onRetry, onRequest, limit = new RequestLimit() } = options
  const limited = withRequestLimit(withObservedRequests(store, onRequest), limit, { onRetry })
  return { ...withRetries(limited, { onRetry }), close: () => store.close() }
}
