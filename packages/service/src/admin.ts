import { createServer, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { Logger } from "./log/logger.ts"
import type { Registry } from "./metrics.ts"
import { OPEN_METRICS_TYPE, openMetricsOf, wantsOpenMetrics } from "./open-metrics.ts"
import { ConfigurationError } from "./settings/configuration-error.ts"
import type { SettingName } from "./settings/table.ts"

export interface AdminOptions {
  /** 0 picks any free port. */
  readonly port: number
  /** Default: all addresses, because probes and scrapes come from outside the pod. The port shows no secret and changes nothing. */
  readonly host?: string | undefined
  readonly registry: Registry
  readonly logger: Logger
  /** The reasons why no work should be sent here, each a clause. Empty if the process is ready. */
  readonly ready: () => Promise<readonly string[]>
  /** Why the process should be restarted, or `null`. Ignores dependencies, because a restart would not help those. */
  readonly live?: () => string | null
  /** How long `ready` may take. After that the delay itself is the reason. */
  readonly readyTimeoutMs?: number
}

/** The admin port's paths, their content, and the meaning of each status. */
export const ADMIN_ENDPOINTS = {
  "/healthz": {
    tells: "whether the process makes progress, for a liveness probe",
    answers: {
      200: "it does",
      503: "it is stuck, with the reason: restart it. A missing Redis, store or key is no reason, since a restart would not help",
    },
  },
  "/readyz": {
    tells: "whether the process can work, for a readiness probe",
    answers: {
      200: "it can",
      503: "it can't, with every reason: Redis does not accept writes, the process is draining, or a worker stands aside from every project. Trouble of one project (keys, a store) is not a reason: that project is suspended, as `unseal_suspended` and the log show",
    },
  },
  "/metrics": {
    tells:
      "the metrics as Prometheus text. Once something was traced: as OpenMetrics text with exemplars, for clients that accept it",
    answers: { 200: "the metrics; a value that Redis does not give within a second is absent" },
  },
} as const satisfies Record<string, { tells: string; answers: Readonly<Record<number, string>> }>

/**
 * Serves `/healthz` (alive?), `/readyz` (ready, and if not, why) and `/metrics` (Prometheus text) to GET and HEAD. Answers anything
 * else with a 404 problem document (RFC 9457). Rejects if it can't listen on the port.
 */
export async function startAdminServer(options: AdminOptions): Promise<{
  port: number
  close(): Promise<void>
}> {
  const { port, host, registry, logger, live = () => null } = options
  const routes: Readonly<
    Record<
      keyof typeof ADMIN_ENDPOINTS,
      (response: ServerResponse, accept: string | undefined) => Promise<void>
    >
  > = {
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
    "/metrics": async (response, accept) => {
      const isOpen = wantsOpenMetrics(registry, accept)
      const text = await (isOpen ? openMetricsOf(registry) : registry.metrics())
      const type = isOpen ? OPEN_METRICS_TYPE : registry.contentType
      response.writeHead(200, { "content-type": type, vary: "accept" }).end(text)
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
    route(response, request.headers.accept).catch((err: unknown) => {
      logger.error({ err, path }, "admin request failed")
      if (!response.headersSent) send(response, 503, { status: "failed" })
      else response.destroy()
    })
  })
  Object.assign(server, { headersTimeout: 5_000, requestTimeout: 10_000, maxConnections: 100 })
  await listen(server, port, host, "UNSEAL_ADMIN_PORT")
  return {
    port: (server.address() as AddressInfo).port,
    close: () => closeNow(server),
  }
}

/**
 * Listens on `host` or, by default, on every address of the machine, IPv4 and IPv6. If that is impossible, rejects with a
 * `ConfigurationError` that names `setting`, the port's setting, if it is given.
 */
export function listen(
  server: Server,
  port: number,
  host: string | undefined,
  setting?: SettingName,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const refused = (error: NodeJS.ErrnoException): void => {
      const problem = setting === undefined ? undefined : listenProblem(error, port, host, setting)
      reject(problem === undefined ? error : new ConfigurationError([problem]))
    }
    server.once("error", refused)
    server.listen({ port, ...(host !== undefined && { host }) }, () => {
      server.off("error", refused)
      resolve()
    })
  })
}

/** Stops `server` and cuts its connections. Resolves when it has stopped. */
export function closeNow(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

function listenProblem(
  { code }: NodeJS.ErrnoException,
  port: number,
  host: string | undefined,
  setting: SettingName,
): string | undefined {
  switch (code) {
    case "EADDRINUSE":
      return `${setting}: port ${port} is taken by another process: stop that one, or give another port (0 takes any free one)`
    case "EACCES":
      return `${setting}: this user may not listen on port ${port}: give one from 1024 up`
    case "EADDRNOTAVAIL":
    case "EAFNOSUPPORT":
    case "ENOTFOUND":
      return `UNSEAL_HOST: ${host} is not an address of this machine (${code})`
    default:
      return undefined
  }
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
