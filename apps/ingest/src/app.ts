import { randomUUID } from "node:crypto"
import type { DuplicateOf } from "@unseal/queue/enqueue/duplicate-of"
import { type Producer, QueueUnavailableError } from "@unseal/queue/enqueue/producer"
import { payloadOf } from "@unseal/queue/jobs/job"
import { peerOf, type TrustedProxies } from "@unseal/service/http/networks"
import { type Logger, type RateLimitedLog, rateLimited } from "@unseal/service/log/logger"
import type { Registry } from "@unseal/service/metrics"
import type { IngestProject, Projects } from "@unseal/service/projects/projects"
import type { Tracing } from "@unseal/service/tracing/contract"
import { CallbackError, readCallback } from "@unseal/vendor/callback"
import express, {
  type ErrorRequestHandler,
  type Express,
  type Request,
  type RequestHandler,
  type Response,
} from "express"
import { type AuthenticationOptions, authenticate } from "./authentication.ts"
import { parseJson, readBody, requireJson } from "./body.ts"
import { type CallbackResponse, openApiDocument } from "./openapi.ts"
import { createOutcomeRecorder, REFUSED_LINES_PER_SECOND, type Settled } from "./outcome.ts"
import { Problem, sendProblem } from "./problem.ts"
import { sendJson } from "./send-json.ts"
import { CallbackTrace } from "./trace.ts"

export interface AppDependencies {
  readonly projects: Projects<IngestProject> & { wasRemoved?(id: string): boolean }
  readonly producer: Pick<Producer, "enqueue">
  /** The state of the job that a callback duplicates. `null` if it can't be had in time. */
  duplicateOf?(jobId: string): Promise<DuplicateOf | null>
  readonly registry: Registry
  readonly logger: Logger
  readonly authentication: AuthenticationOptions
  /** Once true, callbacks are answered 503. */
  readonly draining: () => boolean
  /** Finds a request's sender if that is not the connected peer. */
  readonly proxies?: TrustedProxies
  readonly tracing?: Tracing | undefined
}

/** What is recorded when a callback ends, gathered while it is handled. */
interface Locals {
  settled?: Partial<Settled>
  trace?: CallbackTrace
  /** Set for callbacks, which are recorded when they end. Other refusals have log lines of their own. */
  observed?: true
}

const PATHS = ["/callbacks/:projectId", "/callbacks/:projectId/:token"]

/** Configured UUIDs are in lower case. */
const projectIdOf = (request: Request): string => String(request.params.projectId).toLowerCase()

/** The application that receives callbacks. */
export function createApp(dependencies: AppDependencies): Express {
  const { registry, logger, projects, draining, tracing } = dependencies
  const record = createOutcomeRecorder(registry, logger, projects)
  const description = openApiDocument()

  const app = express()
  app.disable("x-powered-by")
  app.set("query parser", false)

  /** Records each callback once, however it ends. It leaves out the URL, which may hold a token. */
  const observe: RequestHandler = (request, response: Response<unknown, Locals>, next) => {
    const start = performance.now()
    const projectId = projectIdOf(request)
    const trace = new CallbackTrace(tracing, PATHS[request.params.token === undefined ? 0 : 1]!)
    Object.assign(response.locals, { observed: true, trace })
    response.once("close", () => {
      const { settled = {} } = response.locals
      const isAnswered = response.writableFinished
      const ended = {
        outcome: "failed" as const,
        ...settled,
        ...(isAnswered ? {} : { outcome: "aborted" as const }),
      }
      trace.end(ended, projects.get(projectId)?.id, isAnswered ? response.statusCode : undefined)
      const { traceId, exportedId } = trace
      record({
        ...ended,
        ...(traceId !== undefined && { traceId }),
        ...(exportedId !== undefined && { exportedId }),
        projectId,
        duration: (performance.now() - start) / 1_000,
      })
    })
    if (draining()) throw new Problem("draining", "this process is shutting down")
    next()
  }

  app.get("/openapi.json", (_request, response) => sendJson(response, 200, description))
  app.get(PATHS, (_request, response) =>
    sendJson(response, 200, { status: "callbacks are received here by POST" }),
  )
  app.post(PATHS, observe, requireJson, readBody, receive(dependencies))
  app.all(PATHS, () => {
    throw new Problem("method-not-allowed", "callbacks are received by POST")
  })
  app.use(() => {
    throw new Problem("not-found", "there is nothing under this path")
  })
  app.use(handleError(rateLimited(logger, REFUSED_LINES_PER_SECOND)))
  return app
}

function receive(dependencies: AppDependencies) {
  const { projects, producer, authentication, proxies } = dependencies
  return async (request: Request, response: Response<unknown, Locals>): Promise<void> => {
    const receivedAt = new Date().toISOString()
    const { authorization } = request.headers
    const projectId = projectIdOf(request)
    const body: Buffer = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
    const { token } = request.params as { token?: string }
    const peer = proxies === undefined ? peerOf(request.socket) : proxies.peerOf(request)
    response.locals.settled = { peer: peer.address }
    if (peer.contradiction !== undefined && authentication.networks !== undefined)
      throw new Problem("unavailable", "the proxy in front does not say who the sender is", {
        reason: "contradictory proxy headers",
        finding: peer.contradiction,
      })
    const credentials = {
      ...{ authorization, token, body, address: peer.address },
      removed: projects.wasRemoved?.(projectId) ?? false,
    }
    await authenticate(projects.get(projectId), credentials, authentication)
    const { trace } = response.locals
    trace?.accept(request.headers)

    const callback = readCallback(parseJson(body), projectId)
    const { archiveId, status } = callback
    if ("ignored" in callback) {
      response.locals.settled = {
        ...response.locals.settled,
        outcome: "ignored",
        reason: callback.ignored,
        archiveId,
        status,
      }
      const ignored: CallbackResponse = {
        outcome: "ignored",
        reason: callback.ignored,
        ...(archiveId && { archiveId }),
      }
      return sendJson(response, 200, ignored)
    }

    response.locals.settled = { ...response.locals.settled, archiveId, status }
    const payload = payloadOf({
      ...callback,
      projectId,
      receivedAt,
      nonce: randomUUID(),
      ...trace?.context,
    })
    const { outcome, jobId } = await producer.enqueue(payload)
    const settled = { outcome, peer: peer.address, archiveId, status, jobId }
    response.locals.settled = settled
    if (outcome === "enqueued")
      return sendJson(response, 202, { outcome, jobId, archiveId: callback.archiveId })
    const of = (await dependencies.duplicateOf?.(jobId)) ?? null
    response.locals.settled = { ...settled, ...(of && { of: of.state, since: of.since }) }
    const known: CallbackResponse = { outcome, jobId, archiveId: callback.archiveId, ...(of && { of }) }
    sendJson(response, 200, known)
  }
}

/** Turns any error into a problem document. The log names unexpected errors, the answer never does. */
function handleError(limited: RateLimitedLog): ErrorRequestHandler {
  return (error, request, response: Response<unknown, Locals>, _next) => {
    if (response.headersSent) {
      response.destroy()
      return
    }
    const problem = problemOf(error)
    const { kind, cause, finding, errors } = problem
    const told = {
      outcome: kind,
      // The log gives the same reason as the answer.
      reason: problem.reason ?? problem.message,
      ...(finding !== undefined && { finding }),
      ...(errors.length > 0 && { errors }),
    }
    response.locals.settled = { ...response.locals.settled, ...told, err: cause }
    if (!response.locals.observed)
      // The path is left out, because it may hold a token.
      limited("warn", kind, { ...told, method: request.method, hint: PATH_HINT }, "request refused")
    sendProblem(response, problem)
  }
}

const PATH_HINT =
  "callbacks go to POST /callbacks/{projectId}, with the token as one more segment in mode token"

function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error
  if (error instanceof CallbackError) return new Problem("invalid", error.summary, { errors: error.fields })
  if (error instanceof QueueUnavailableError)
    return new Problem("unavailable", "the queue did not accept the archive in time", { cause: error })
  // Errors of Express and its body parser have a status.
  const { status } = error as { status?: unknown }
  if (status === 413) return new Problem("too-large", "the body is larger than 16 kB")
  if (status === 415) return new Problem("unsupported", "the body must be application/json, not compressed")
  if (typeof status === "number" && status >= 400 && status < 500)
    return new Problem("invalid", "the request is malformed")
  return new Problem("failed", "the callback could not be handled", { cause: error })
}
