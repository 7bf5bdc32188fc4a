import { createServer, type RequestListener, type Server, type ServerResponse, STATUS_CODES } from "node:http"
import type { Socket } from "node:net"

/** Bounds on what one sender can hold. Slow senders end by these, and so can't crowd out the others. */
export interface ServerLimits {
  /** From the first byte to the end of the headers. */
  readonly headersTimeoutMs: number
  /** From the first byte to the end of the body. */
  readonly requestTimeoutMs: number
  /** How often the two above are enforced. */
  readonly checkIntervalMs: number
  /** Longer than the usual 60 s of a load balancer, which else would send into a connection that closes just then. */
  readonly keepAliveTimeoutMs: number
  readonly maxConnections: number
}

export const DEFAULT_LIMITS: ServerLimits = {
  headersTimeoutMs: 5_000,
  requestTimeoutMs: 10_000,
  checkIntervalMs: 1_000,
  keepAliveTimeoutMs: 65_000,
  maxConnections: 2_000,
}

/** Bytes of headers: a signature takes about 400. */
const MAX_HEADER_BYTES = 8_192

/** Requests in hand have this long to end before their connections are cut; their senders try again. */
const DRAIN_MS = 4_000

/**
 * An HTTP server for `listener` that isn't listening yet. `drain` stops listening and resolves when the requests in hand are
 * answered, with `Connection: close`, and every connection is closed.
 */
export function createLimitedServer(
  listener: RequestListener,
  limits: Partial<ServerLimits> = {},
): { server: Server; drain(): Promise<void> } {
  const all = { ...DEFAULT_LIMITS, ...limits }
  const answering = new Set<ServerResponse>()
  let draining = false
  const server = createServer(
    {
      headersTimeout: all.headersTimeoutMs,
      requestTimeout: all.requestTimeoutMs,
      connectionsCheckingInterval: all.checkIntervalMs,
      keepAliveTimeout: all.keepAliveTimeoutMs,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    (request, response) => {
      if (draining) response.setHeader("Connection", "close")
      answering.add(response)
      response.once("close", () => answering.delete(response))
      listener(request, response)
    },
  )
  server.maxConnections = all.maxConnections
  server.on("clientError", answerBrokenRequest)
  return {
    server,
    drain: () =>
      new Promise((resolve) => {
        draining = true
        // Else these connections would stay open for the next request that their sender may have.
        for (const response of answering) if (!response.headersSent) response.setHeader("Connection", "close")
        const cut = setTimeout(() => server.closeAllConnections(), DRAIN_MS)
        server.close(() => {
          clearTimeout(cut)
          resolve()
        })
      }),
  }
}

/** What Node found wrong with a request before it was one. The rest is malformed. */
const BROKEN_REQUESTS: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  // Node's own answer is 408, after which the vendor gives a callback up: a slow network would lose a recording.
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
