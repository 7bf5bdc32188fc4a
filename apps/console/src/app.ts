/** The console's application: who may ask, and which page answers. */
import { STATUS_CODES } from "node:http"
import { peerOf, type TrustedProxies } from "@unseal/service/http/networks"
import { type Logger, rateLimited } from "@unseal/service/log/logger"
import express, { type ErrorRequestHandler, type Express, type Request, type RequestHandler } from "express"
import { setCookie } from "./access/cookie.ts"
import type { Sessions } from "./access/sessions.ts"
import type { SignInDesk } from "./access/sign-in.ts"
import type { Visitors } from "./access/visitor.ts"
import type { Actions } from "./actions.ts"
import { ASSETS } from "./assets.ts"
import { BOARD_PATH, isPoll } from "./board/path.ts"
import { HEADERS, isFromOwnPage, originOf } from "./guard.ts"
import type { ConsoleMetrics } from "./metrics.ts"
import { problemPage, signInPage } from "./pages/sign-in.ts"
import { duration } from "./pages/words.ts"
import type { QueueView } from "./queue-view.ts"
import { Refusal } from "./refusal.ts"
import { field, localPath, parameter } from "./request.ts"
import { addActionRoutes } from "./routes/actions.ts"
import { addArchiveRoutes } from "./routes/archives.ts"
import { createShower, type PageResponse } from "./shower.ts"

export interface AppOptions {
  readonly view: QueueView
  readonly actions: Actions
  readonly visitors: Visitors
  readonly sessions: Sessions
  /** `null` if only a proxy says who somebody is. */
  readonly desk: SignInDesk | null
  readonly proxies?: TrustedProxies | undefined
  readonly publicUrl?: URL | undefined
  /** bull-board, if it is switched on. */
  readonly board?: RequestHandler | undefined
  readonly metrics: ConsoleMetrics
  readonly logger: Logger
}

const MAX_BODY = "8kb"
const REFUSED_LINES_PER_SECOND = 2

export function createApp(options: AppOptions): Express {
  const { view, visitors, sessions, desk, metrics, logger, publicUrl } = options
  const limited = rateLimited(logger, REFUSED_LINES_PER_SECOND)
  const app = express()
  app.disable("x-powered-by")
  app.disable("etag")
  app.set("query parser", false)

  const shower = createShower(view, options.board !== undefined)
  const { show } = shower
  const addressOf = (request: Request): string | undefined =>
    (options.proxies === undefined ? peerOf(request.socket) : options.proxies.peerOf(request)).address

  const guard: RequestHandler = (request, response: PageResponse, next) => {
    response.set(HEADERS)
    response.once("finish", () => metrics.request(response.statusCode))
    const origin = originOf(request.headers.host, publicUrl)
    if (origin === null)
      throw new Refusal(
        421,
        "The console does not answer to this name. Set UNSEAL_CONSOLE_URL to the URL in your browser's address bar, and let a proxy in front pass on the Host header.",
        "unknown host",
      )
    response.locals.origin = origin
    if (origin.secure) response.set("strict-transport-security", "max-age=31536000")
    if (!["GET", "HEAD", "POST"].includes(request.method))
      throw new Refusal(405, "There are only pages and forms here.", "method")
    if (request.method === "POST" && !isFromOwnPage(request, origin))
      throw new Refusal(
        403,
        "This form was not sent from a page of the console. Reload the page, and send it again.",
        "foreign origin",
      )
    next()
  }

  const requireVisitor: RequestHandler = (request, response: PageResponse, next) => {
    const visitor = visitors.of(request, response.locals.origin.secure)
    if (visitor === null) {
      if (desk === null)
        throw new Refusal(
          401,
          "The proxy in front must say who you are, and it did not. Sign in there, and come through it.",
          "no proxy's name",
        )
      if ((request.method !== "GET" && request.method !== "HEAD") || isPoll(request))
        throw new Refusal(401, "You are no longer signed in. Sign in, and try again.", "no session")
      response.redirect(303, `/sign-in?to=${encodeURIComponent(request.originalUrl)}`)
      return
    }
    response.locals.visitor = visitor
    const { session } = visitor
    // bull-board keeps asking while its page is hidden. That keeps no session alive.
    if (session?.renewed && !isPoll(request))
      response.append("set-cookie", setCookie(session.renewed, response.locals.origin.secure))
    if (request.method === "POST" && !visitors.isTokenOf(visitor, field(request, "token") ?? ""))
      throw new Refusal(
        403,
        "This form is from another session. Reload the page, and send it again.",
        "wrong token",
      )
    next()
  }

  app.use(guard)
  app.get("/assets/:name", (request, response) => {
    const asset = ASSETS.get(request.params.name)
    if (asset === undefined) throw new Refusal(404, "There is nothing under this path.", "not found")
    response
      .set({ "content-type": asset.type, "cache-control": "public, max-age=31536000, immutable" })
      .send(asset.body)
  })
  app.use(express.urlencoded({ extended: false, limit: MAX_BODY, parameterLimit: 20, inflate: false }))
  if (desk !== null) {
    app.get("/sign-in", async (request, response: PageResponse) =>
      show(response, signInPage(localPath(parameter(request, "to")), null)),
    )
    app.post("/sign-in", async (request, response: PageResponse) => {
      const [name, to] = [field(request, "name") ?? "", localPath(field(request, "to"))]
      const address = addressOf(request)
      const outcome = await desk.signIn(name, field(request, "password") ?? "", address)
      metrics.signIn(outcome.kind)
      if (outcome.kind === "signed-in") {
        logger.info({ user: outcome.user.name, role: outcome.user.role, peer: address }, "signed in")
        const value = sessions.begin(outcome.user)
        response.append("set-cookie", setCookie(value, response.locals.origin.secure)).redirect(303, to)
        return
      }
      // The name may be a password that was typed into the wrong field.
      limited("warn", outcome.kind, { outcome: outcome.kind, peer: address }, "sign-in refused")
      const [status, problem] = {
        wrong: [401, "The name or the password is wrong."] as const,
        later: [
          429,
          `Too many failed attempts. Try again in ${duration("waitMs" in outcome ? outcome.waitMs + 999 : 0)}.`,
        ] as const,
        busy: [503, "Too many people are signing in right now. Try again."] as const,
      }[outcome.kind]
      if (outcome.kind === "later") response.set("retry-after", String(Math.ceil(outcome.waitMs / 1_000)))
      await show(response, signInPage(to, problem, name.slice(0, 64)), status)
    })
  }
  app.use(requireVisitor)
  app.post("/sign-out", (_request, response: PageResponse) => {
    const { session } = shower.visitorOf(response)
    if (session !== null) {
      sessions.end(session.id)
      logger.info({ user: session.user.name }, "signed out")
    }
    response.append("set-cookie", setCookie(null, response.locals.origin.secure)).redirect(303, "/")
  })
  addArchiveRoutes(app, view, shower)
  addActionRoutes(app, view, options.actions, shower)
  if (options.board !== undefined) app.use(BOARD_PATH, options.board)
  app.use(() => {
    throw new Refusal(404, "There is nothing under this path.", "not found")
  })

  const handleError: ErrorRequestHandler = async (error, request, response: PageResponse, _next) => {
    if (response.headersSent) {
      response.destroy()
      return
    }
    const refusal = refusalOf(error)
    const { status, reason } = refusal
    if (status >= 500) response.set("retry-after", "5")
    const told = { method: request.method, status, reason, peer: addressOf(request) }
    if (status === 500) logger.error({ ...told, err: error }, "page failed")
    else if (status !== 404)
      limited("warn", reason, status === 503 ? { ...told, err: error } : told, "request refused")
    await show(response, problemPage(STATUS_CODES[status] ?? "Problem", refusal.message), status)
  }
  app.use(handleError)
  return app
}

function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error
  const { status, message } = error as { status?: unknown; message?: unknown }
  if (typeof status === "number" && status >= 400 && status < 500)
    return new Refusal(400, "The request is malformed.", "malformed")
  if (
    /redis|stream isn't writeable|connection|timed? ?out|READONLY|LOADING|NOPERM|OOM|CLUSTERDOWN/i.test(
      String(message),
    )
  )
    return new Refusal(
      503,
      "Redis does not answer, or refuses commands. The page tries again by itself; the console's log has the reason.",
      "redis",
    )
  return new Refusal(500, "The page could not be made. The console's log has the error.", "failed")
}
