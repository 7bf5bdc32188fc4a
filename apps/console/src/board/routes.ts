/** bull-board under `/board/`: our own page, which loads its scripts; its files; and its routes, but only those that read. */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { createBullBoard } from "@bull-board/api"
import type {
  AppControllerRoute,
  BullBoardQueues,
  IServerAdapter,
  UIConfig,
} from "@bull-board/api/typings/app"
import express, { type Request, type Router } from "express"
import { Html, html } from "../html.ts"
import { Refusal } from "../refusal.ts"
import { queryOf } from "../request.ts"
import { BoardQueue } from "./board-queue.ts"
import { BOARD_PATH } from "./path.ts"
import type { BoardView } from "./view.ts"

/** The routes that read. All others are left out, so a request for one of them gets a 404. */
const READING: ReadonlySet<string> = new Set([
  "/api/queues",
  "/api/queues/:queueName/workers",
  "/api/queues/:queueName/default-job-options",
  "/api/queues/:queueName/job-data-schema",
  "/api/queues/:queueName/rate-limit",
  "/api/queues/:queueName/:jobId",
  "/api/queues/:queueName/:jobId/logs",
  "/api/job-schedulers",
])
/** bull-board takes any number for the size of a page. */
const MOST_A_PAGE = 100
/** Ranks beyond this are not read: Redis looks through a list from its end. */
const LAST_PAGE = 10_000

const POLICY = [
  ...[
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "worker-src 'self'",
  ],
  ...["img-src 'self' data:", "form-action 'none'", "base-uri 'self'", "frame-ancestors 'none'"],
].join("; ")

const UI: UIConfig = {
  boardTitle: "Unseal",
  favIcon: { default: "static/images/logo.svg", alternative: "static/images/logo.svg" },
  miscLinks: [{ text: "Console", url: "/" }],
  ...{ hideDocsLink: true, hideRedisDetails: true, showMetrics: false, sortQueues: false },
}

/** Mount it at `BOARD_PATH`, behind the check of visitors. */
export function createBoard(view: BoardView): Router {
  const files = join(dirname(createRequire(import.meta.url).resolve("@bull-board/ui/package.json")), "dist")
  const collected = collect(new BoardQueue(view), dirname(files))
  const page = pageOf(readFileSync(join(files, "index.ejs"), "utf8"), collected.uiConfig)
  const router = express.Router()

  router.use((request, response, next) => {
    if (request.method !== "GET" && request.method !== "HEAD")
      throw new Refusal(405, "bull-board only shows the queue here.", "method")
    response.set("content-security-policy", POLICY)
    next()
  })
  router.use(
    "/static",
    express.static(join(files, "static"), {
      ...{ index: false, redirect: false, fallthrough: true },
      setHeaders: (response, path) => {
        // Names of scripts and styles have a digest of their content.
        const isForEver = /\.(js|css)$/.test(path)
        response.setHeader("cache-control", isForEver ? "private, max-age=31536000, immutable" : "no-cache")
      },
    }),
  )
  // Its view of flows would read jobs without `BoardQueue`, and our jobs have no flows.
  router.get("/api/queues/:queueName/:jobId/flow", (request, response) => {
    response.json({ nodeId: request.params.jobId, flowRoot: null, isFlowNode: false })
  })
  for (const { route, handler } of collected.routes)
    router.get(route, async (request, response) => {
      const { queues, uiConfig } = collected
      const { params } = request
      const answer = await handler({
        queues,
        uiConfig,
        params,
        query: boundedQuery(request),
        body: {},
        headers: {},
      })
      response.status(answer.status ?? 200).json(answer.body)
    })
  router.get(
    ["/", "/job-schedulers", "/queue/:queueName", "/queue/:queueName/:jobId"],
    (_request, response) => {
      response.type("html").send(page)
    },
  )
  return router
}

interface Collected {
  readonly queues: BullBoardQueues
  readonly uiConfig: UIConfig
  readonly routes: readonly (Pick<AppControllerRoute, "handler"> & { readonly route: string })[]
}

/** Asks bull-board for its routes, and keeps those that only read. Throws if it has renamed one. */
function collect(queue: BoardQueue, uiBasePath: string): Collected {
  let queues: BullBoardQueues = new Map()
  let uiConfig: UIConfig = {}
  let offered: AppControllerRoute[] = []
  const collector: IServerAdapter = {
    setQueues: (given) => keep(() => (queues = given)),
    setUIConfig: (given) => keep(() => (uiConfig = given)),
    setApiRoutes: (given) => keep(() => (offered = given)),
    setViewsPath: () => collector,
    setStaticPath: () => collector,
    setEntryRoute: () => collector,
    setErrorHandler: () => collector,
  }
  function keep(set: () => unknown): IServerAdapter {
    set()
    return collector
  }
  createBullBoard({ queues: [queue], serverAdapter: collector, options: { uiBasePath, uiConfig: UI } })
  const routes = offered.flatMap(({ method, route, handler }) =>
    method === "get" && typeof route === "string" && READING.has(route) ? [{ route, handler }] : [],
  )
  if (routes.length !== READING.size)
    throw new Error(`bull-board has ${routes.length} of the ${READING.size} routes that this console serves`)
  return { queues, uiConfig, routes }
}

function boundedQuery(request: Request): Record<string, string> {
  const query = Object.fromEntries(queryOf(request))
  const bounded = (name: string, most: number) =>
    query[name] !== undefined && { [name]: String(Math.min(Number.parseInt(query[name], 10) || 1, most)) }
  return { ...query, ...bounded("jobsPerPage", MOST_A_PAGE), ...bounded("page", LAST_PAGE) }
}

/**
 * Our page in place of bull-board's own, which loads fonts from another site and has inline styles. The names of the scripts and
 * styles come from bull-board's page.
 */
function pageOf(template: string, uiConfig: UIConfig): string {
  const names = (pattern: RegExp) => [...template.matchAll(pattern)].map(([, name]) => name!)
  const scripts = names(/<script defer src="(static\/js\/[\w.-]{1,80})"/g)
  const styles = names(/<link href="(static\/css\/[\w.-]{1,80})"/g)
  if (scripts.length === 0 || styles.length === 0)
    throw new Error("bull-board's page names no script or no style")
  return `<!doctype html>\n${
    html`<html lang="en" dir="ltr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<base href="${BOARD_PATH}">
<title>${UI.boardTitle}</title>
<link rel="icon" href="static/images/logo.svg" type="image/svg+xml" id="fav-logo">
${styles.map((name) => html`<link rel="stylesheet" href="${name}">`)}
</head>
<body class="preload">
<script id="__UI_CONFIG__" type="application/json">${new Html(JSON.stringify(uiConfig).replaceAll("<", "\\u003c"))}</script>
<div id="root"></div>
${scripts.map((name) => html`<script defer src="${name}"></script>`)}
</body>
</html>`.text
  }\n`
}
