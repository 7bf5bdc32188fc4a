/** Carries the SDK's requests to the store, over connections that pass bodies on without copying them. */
import type { Socket } from "node:net"
import { Readable } from "node:stream"
import {
  Connection,
  ConnectionError,
  type ConnectionLimits,
  type IncomingResponse,
} from "../../http/connection.ts"
import { type ExchangeObserver, observeExchange } from "../../http/exchanges.ts"
import { type Origin, originOf } from "../../http/origin.ts"
import {
  type FindProxy,
  type HttpProxy,
  isOfProxy,
  namingProxy,
  openTunnel,
  proxyRefusal,
} from "../../http/proxy.ts"
import type { OutgoingRequest } from "../../http/request.ts"

/** A request as the SDK built and signed it. */
export interface SdkRequest {
  readonly method: string
  readonly protocol: string
  readonly hostname: string
  readonly port?: number | undefined
  readonly path: string
  readonly query?: Readonly<Record<string, string | string[] | null>> | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly body?: unknown
}

interface SdkResponse {
  readonly statusCode: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: ResponseStream
}

/** The SDK reads every answer whole. The longest, a listing of a thousand long keys, takes a few MiB. */
const RESPONSE_LIMIT = 16 * 1024 * 1024

/** An answer's body as the stream that the SDK requires. */
class ResponseStream extends Readable {
  readonly pieces: AsyncIterableIterator<Uint8Array>
  #size = 0

  constructor(pieces: AsyncIterableIterator<Uint8Array>) {
    super()
    this.pieces = pieces
  }

  override _read(): void {
    this.pieces.next().then(
      ({ done, value }) => {
        this.#size += value?.length ?? 0
        if (this.#size > RESPONSE_LIMIT)
          this.destroy(new ConnectionError(`the response has more than ${RESPONSE_LIMIT} bytes`))
        else this.push(done ? null : Uint8Array.from(value))
      },
      (error: Error) => this.destroy(error),
    )
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    void this.pieces.return?.()
    done(error)
  }
}

/** How to reach a store if the direct way is not used. */
export interface TransportRoutes {
  readonly findProxy?: FindProxy
  /** The certificates (PEM) to verify the store with, instead of the system's. */
  readonly ca?: string | undefined
}

/** An HTTP handler for the SDK's clients. It reuses connections. The callers' budget determines how many there are. */
export class S3Transport {
  readonly metadata = { handlerProtocol: "http/1.1" }
  readonly #limits: ConnectionLimits
  readonly #findProxy: FindProxy
  readonly #ca: string | undefined
  readonly #observe: ExchangeObserver | undefined
  readonly #connections = new Set<Connection>()
  /** By origin, in the order of last use. A connection that ends leaves at once, and its read buffer with it. */
  readonly #reserve = new Map<string, Set<Connection>>()

  constructor(
    limits: ConnectionLimits,
    { findProxy = () => undefined, ca }: TransportRoutes = {},
    observe?: ExchangeObserver,
  ) {
    this.#limits = limits
    this.#findProxy = findProxy
    this.#ca = ca
    this.#observe = observe
  }

  async handle(
    request: SdkRequest,
    options: { abortSignal?: unknown } = {},
  ): Promise<{ response: SdkResponse }> {
    const body = await piecesOf(request.body)
    const length = body.reduce((sum, piece) => sum + piece.length, 0)
    const headers: Record<string, string> = { ...request.headers }
    if (!Object.keys(headers).some((name) => name.toLowerCase() === "content-length"))
      if (length > 0 || request.method === "PUT" || request.method === "POST")
        headers["content-length"] = String(length)
    // CompleteMultipartUpload assembles up to ten thousand parts.
    const mayPause = request.method === "POST" && request.query?.uploadId !== undefined
    const outgoing = { method: request.method, target: targetOf(request), headers, body, mayPause }
    const signal = options.abortSignal instanceof AbortSignal ? options.abortSignal : undefined
    const answer = await this.exchange(originOf(request), outgoing, signal)
    const response = {
      statusCode: answer.status,
      headers: answer.headers,
      body: new ResponseStream(answer.body),
    }
    return { response }
  }

  /** Makes one exchange over a free connection, or over a new one. */
  exchange(origin: Origin, request: OutgoingRequest, signal?: AbortSignal): Promise<IncomingResponse> {
    const exchange = () => this.#exchange(origin, request, signal)
    return this.#observe ? observeExchange(this.#observe, origin, request, exchange) : exchange()
  }

  #exchange(origin: Origin, request: OutgoingRequest, signal?: AbortSignal): Promise<IncomingResponse> {
    const proxy = this.#findProxy(origin)
    if (proxy === undefined) {
      const name = nameOf(origin)
      return (this.#keptTo(name) ?? this.#connect(name, origin)).exchange(request, signal)
    }
    return origin.secure
      ? this.#exchangeByTunnel(proxy, origin, request, signal)
      : this.#exchangeByProxy(proxy, origin, request, signal)
  }

  async #exchangeByTunnel(proxy: HttpProxy, origin: Origin, request: OutgoingRequest, signal?: AbortSignal) {
    const name = nameOf(origin)
    const kept = this.#keptTo(name)
    if (kept !== undefined) return kept.exchange(request, signal)
    const tunnel = await openTunnel(proxy, origin, this.#limits.idleTimeoutMs, signal)
    return this.#connect(name, origin, tunnel).exchange(request, signal)
  }

  /** Without TLS, the request line carries the whole URL for the proxy (RFC 9112, section 3.2.2). */
  async #exchangeByProxy(proxy: HttpProxy, origin: Origin, request: OutgoingRequest, signal?: AbortSignal) {
    const name = `proxy ${nameOf(proxy)}`
    const { authorization } = proxy
    const outgoing = {
      ...request,
      target: `${nameOf(origin)}${request.target}`,
      headers: { ...request.headers, ...(authorization && { "proxy-authorization": authorization }) },
    }
    const connection = this.#keptTo(name) ?? this.#connect(name, proxy)
    const response = await connection.exchange(outgoing, signal).catch((error: unknown) => {
      throw namingProxy(proxy, error)
    })
    if (!isOfProxy(response.status, response.headers)) return response
    await response.body.return?.()
    throw proxyRefusal(proxy, origin, response.status)
  }

  #keptTo(name: string): Connection | undefined {
    const reserve = this.#reserve.get(name)
    // The most recently used one is the least likely to have been closed by the store.
    const kept = reserve && [...reserve].findLast((connection) => connection.usable)
    if (kept !== undefined) reserve!.delete(kept)
    return kept
  }

  #connect(name: string, origin: Origin, tunnel?: Socket): Connection {
    const reserve = this.#reserve.get(name) ?? new Set()
    this.#reserve.set(name, reserve)
    const events = {
      usable: (usable: Connection) => void reserve.add(usable),
      closed: (closed: Connection) => {
        reserve.delete(closed)
        this.#connections.delete(closed)
      },
    }
    const connection = new Connection(origin, this.#limits, events, {
      ...(tunnel && { tunnel }),
      ca: this.#ca,
    })
    this.#connections.add(connection)
    return connection
  }

  /** The number of connections that are open or being opened. */
  get size(): number {
    return this.#connections.size
  }

  destroy(): void {
    for (const connection of this.#connections) connection.close()
    this.#connections.clear()
    this.#reserve.clear()
  }

  // The SDK's interface requires these two. Nothing can be changed once the client is made.
  updateHttpClientConfig(): void {}
  httpHandlerConfigs(): Record<string, never> {
    return {}
  }
}

const nameOf = ({ secure, host, port }: Origin): string =>
  `${secure ? "https" : "http"}://${host.includes(":") ? `[${host}]` : host}:${port}`

export function targetOf({ path, query }: Pick<SdkRequest, "path" | "query">): string {
  const pairs = Object.entries(query ?? {}).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one) =>
      one === null ? encode(name) : `${encode(name)}=${encode(one)}`,
    ),
  )
  return pairs.length === 0 ? path : `${path}?${pairs.join("&")}`
}

/** Encodes as the signature requires (RFC 3986, section 2.3). */
const encode = (text: string): string =>
  encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`,
  )

async function piecesOf(body: unknown): Promise<readonly Uint8Array[]> {
  if (body === undefined || body === null || body === "") return []
  if (typeof body === "string") return [Buffer.from(body)]
  if (body instanceof Uint8Array) return body.length > 0 ? [body] : []
  return (await Array.fromAsync(body as AsyncIterable<Uint8Array>)).map((piece) => Buffer.from(piece))
}
