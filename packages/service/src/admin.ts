import { createServer, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { Logger } from "./logger.ts"
import type { Registry } from "./metrics.ts"

export interface AdminOptions {
  /** 0 takes any free port. */
  readonly port: number
  /** All interfaces unless told otherwise: probes and scrapes come from outside the pod. It shows no secret and changes nothing. */
  readonly host?: string
  readonly registry: Registry
  readonly logger: Logger
  /** The reasons why no work should be sent here, each a clause; none if the process is ready. */
  readonly ready: () => Promise<readonly string[]>
  /** Why the process should be restarted, or `null`. Not whether a dependency answers: a restart would not help that. */
  readonly live?: () => string | null
  /** How long `ready` may take before that is the reason. */
  readonly readyTimeoutMs?: number
}

/**
 * Serves `/healthz` (alive?), `/readyz` (ready, and if not, why) and `/metrics` (Prometheus text) to GET and HEAD; anything
 * else is a 404 problem document (RFC 9457). Rejects if the port can't be had.
 */
export async function startAdminServer(options: AdminOptions): Promise<{
  port: number
  close(): Promise<void>
}> {
  const { port, host = "0.0.0.0", registry, logger, live = () => null } = options
  const routes: Readonly<Record<string, (response: ServerResponse) => Promise<void>>> = {
    "/healthz": async (response) => {
      const reason = live()
      send(response, reason === null ? 200 : 503, { status: reason === null ? "alive" : "stuck", reason })
    },
    "/readyz": async (response) => {
      const reasons = await readyWithin(options.ready, options.readyTimeoutMs ?? 2_000)
      send(response, reasons.length === 0 ? 200 : 503, {
        status: reasons.length === 0 ? "ready" : "not ready",
        reasons,
      })
    },
    "/metrics": async (response) => {
      const text = await registry.metrics()
      response.writeHead(200, { "content-type": registry.contentType }).end(text)
    },
  }
  const server = createServer((request, response) => {
    const path = (request.url ?? "").split("?", 1)[0] ?? ""
    const route = ["GET", "HEAD"].includes(request.method ?? "")
      ? new Map(Object.entries(routes)).get(path)
      : null
    if (!route)
      return send(
        response,
        404,
        { type: "about:blank", title: "Not Found", status: 404 },
        "application/problem+json",
      )
    route(response).catch((err: unknown) => {
      logger.error({ err, path }, "admin request failed")
      if (!response.headersSent) send(response, 503, { status: "failed" })
      else response.destroy()
    })
  })
  Object.assign(server, { headersTimeout: 5_000, requestTimeout: 10_000, maxConnections: 100 })
  await listen(server, port, host)
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** Listens, or rejects with the reason why it can't. */
export function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject)
    server.listen(port, host, () => {
      server.off("error", reject)
      resolve()
    })
  })
}

async function readyWithin(ready: AdminOptions["ready"], timeoutMs: number): Promise<readonly string[]> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<readonly string[]>((resolve) => {
    timer = setTimeout(() => resolve([`no answer about readiness within ${timeoutMs} ms`]), timeoutMs)
  })
  try {
    return await Promise.race([ready(), late])
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)]
  } finally {
    clearTimeout(timer)
  }
}

function send(response: ServerResponse, status: number, body: object, type = "application/json"): void {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(JSON.stringify(body))
}
