import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from "node:http"
import type { Socket } from "node:net"
import { peerOf } from "./networks.ts"

/** Bounds on what one sender can hold, so that slow senders can't crowd out the others. */
export interface ServerLimits {
  /** From the first byte to the end of the headers. */
  readonly headersTimeoutMs: number
  /** From the first byte to the end of the body. */
  readonly requestTimeoutMs: number
  /** How often the two limits above are enforced. */
  readonly checkIntervalMs: number
  /** Longer than a load balancer's usual 60 s. Otherwise it would send into a connection that is just closing. */
  readonly keepAliveTimeoutMs: number
  /** At this number, the longest idle connection makes way for a new one. */
  readonly maxConnections: number
  /** The limit per address (an IPv6 network of 64 bits), unless it is a proxy's. */
  readonly maxConnectionsPerAddress: number
}

/** Why a connection was cut before it delivered a whole request. */
export type CutReason = "network" | "address" | "full" | "idle" | "slow" | "malformed"

export interface ServerOptions {
  readonly limits?: Partial<ServerLimits>
  /** Whether a connection from the address is allowed; absent, all are. Others take no place. */
  readonly admits?: (address: string | undefined) => boolean
  /** Whether many senders share the address's connections. */
  readonly isProxy?: (address: string | undefined) => boolean
  readonly onCut?: (reason: CutReason, address: string | undefined) => void
  /** A sender that announces a longer body is not told to send it. Default 16 KiB. */
  readonly maxBodyBytes?: number
}

export const DEFAULT_LIMITS: ServerLimits = {
  headersTimeoutMs: 5_000,
  requestTimeoutMs: 10_000,
  checkIntervalMs: 1_000,
  keepAliveTimeoutMs: 65_000,
  maxConnections: 2_000,
  maxConnectionsPerAddress: 500,
}

/** Bytes of headers. A signature takes about 400. */
const MAX_HEADER_BYTES = 8_192

/** How long requests in progress may take to end before their connections are cut. Their senders try again. */
const DRAIN_MS = 4_000

/**
 * Creates an HTTP server for `listener` that isn't listening yet. `drain` stops listening. It resolves when the requests in
 * progress are answered with `Connection: close`, and every connection is closed. `connections` tells how many are open.
 */
export function createLimitedServer(
  listener: RequestListener,
  {
    limits = {},
    admits = () => true,
    isProxy = () => false,
    onCut = () => {},
    maxBodyBytes = 16_384,
  }: ServerOptions = {},
): { server: Server; connections(): number; drain(): Promise<void> } {
  const all = { ...DEFAULT_LIMITS, ...limits }
  const answering = new Set<ServerResponse>()
  let draining = false
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    if (draining) response.setHeader("Connection", "close")
    answering.add(response)
    places.busy(request.socket)
    response.once("close", () => {
      answering.delete(response)
      places.idle(request.socket)
    })
    listener(request, response)
  }
  const places = createPlaces(all, isProxy, onCut)
  const server = createServer(
    {
      headersTimeout: all.headersTimeoutMs,
      requestTimeout: all.requestTimeoutMs,
      connectionsCheckingInterval: all.checkIntervalMs,
      keepAliveTimeout: all.keepAliveTimeoutMs,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    handle,
  )
  server.on("connection", (socket: Socket) => {
    const { address } = peerOf(socket)
    if (admits(address)) places.take(socket)
    else {
      onCut("network", address)
      socket.destroy()
    }
  })
  server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
    // An oversized body is refused before it is sent.
    if (Number(request.headers["content-length"]) > maxBodyBytes) response.setHeader("Connection", "close")
    else response.writeContinue()
    handle(request, response)
  })
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    // These codes mean that the client hung up, so we did not cut the connection.
    if (!["ECONNRESET", "HPE_INVALID_EOF_STATE"].includes(error.code ?? ""))
      onCut(error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? "slow" : "malformed", peerOf(socket).address)
    answerBrokenRequest(error, socket)
  })
  return {
    server,
    connections: () => places.taken,
    drain: () =>
      new Promise((resolve) => {
        draining = true
        // Otherwise these connections would stay open for their sender's next request.
        for (const response of answering) if (!response.headersSent) response.setHeader("Connection", "close")
        const cut = setTimeout(() => server.closeAllConnections(), DRAIN_MS)
        server.close(() => {
          clearTimeout(cut)
          resolve()
        })
      }),
  }
}

/** Keeps the number of connections, in total and per address, within `limits`. Idle ones make way. */
function createPlaces(
  limits: ServerLimits,
  isProxy: (address: string | undefined) => boolean,
  onCut: (reason: CutReason, address: string | undefined) => void,
) {
  const open = new Set<Socket>()
  /** In the order in which they became idle. */
  const idle = new Set<Socket>()
  const byAddress = new Map<string, Set<Socket>>()

  /** Cuts an idle connection among `some`. Returns `false` if there is none. */
  function makeRoom(some: ReadonlySet<Socket>): boolean {
    for (const socket of idle)
      if (some.has(socket)) {
        onCut("idle", peerOf(socket).address)
        leave(socket)
        socket.destroy()
        return true
      }
    return false
  }

  function leave(socket: Socket): void {
    open.delete(socket)
    idle.delete(socket)
    const own = byAddress.get(keyOf(socket))
    own?.delete(socket)
    if (own?.size === 0) byAddress.delete(keyOf(socket))
  }

  const keys = new WeakMap<Socket, string>()
  function keyOf(socket: Socket): string {
    // A closed socket no longer knows its peer.
    const key = keys.get(socket) ?? networkOf(peerOf(socket).address ?? "")
    keys.set(socket, key)
    return key
  }

  return {
    take(socket: Socket): void {
      const { address } = peerOf(socket)
      const own = byAddress.get(keyOf(socket)) ?? new Set()
      const crowded = own.size >= limits.maxConnectionsPerAddress && !isProxy(address) && !makeRoom(own)
      if (crowded || (open.size >= limits.maxConnections && !makeRoom(open))) {
        onCut(crowded ? "address" : "full", address)
        socket.destroy()
        return
      }
      byAddress.set(keyOf(socket), own.add(socket))
      open.add(socket)
      idle.add(socket)
      socket.once("close", () => leave(socket))
    },
    get taken() {
      return open.size
    },
    busy: (socket: Socket): void => void idle.delete(socket),
    idle(socket: Socket): void {
      if (open.has(socket)) idle.add(socket)
    },
  }
}

/** An IPv4 address, or the 64 bits of an IPv6 address that identify one subscriber. */
function networkOf(address: string): string {
  if (!address.includes(":")) return address
  const [head = "", tail] = address.split("::")
  const first = head.split(":").filter(Boolean)
  const last = tail?.split(":").filter(Boolean) ?? []
  const zeros = tail === undefined ? [] : Array<string>(Math.max(0, 8 - first.length - last.length)).fill("0")
  return [...first, ...zeros, ...last].slice(0, 4).join(":")
}

/** Statuses for Node's errors about incomplete requests. Any other error is malformed. */
const BROKEN_REQUESTS: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  // Node itself answers 408, which makes the vendor give up: a slow network would lose a recording.
  ERR_HTTP_REQUEST_TIMEOUT: 503,
}

function answerBrokenRequest(
  error: NodeJS.ErrnoException,
  socket: Socket & { _httpMessage?: ServerResponse | null },
): void {
  const status = BROKEN_REQUESTS[error.code ?? ""] ?? 400
  if (socket.writable && !socket._httpMessage?.headersSent && error.code !== "ECONNRESET") {
    const retry = status === 503 ? "Retry-After: 5\r\n" : ""
    socket.write(
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${retry}Connection: close\r\nContent-Length: 0\r\n\r\n`,
    )
  }
  socket.destroy()
}
