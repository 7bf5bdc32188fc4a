/** The frame of every page: where the visitor is, what the queue has, and who the visitor is. */
import type { ListedState } from "@unseal/queue/jobs/archive-pages"
import { VERSION } from "@unseal/service/version"
import type { Visitor } from "../access/visitor.ts"
import { assetPath } from "../assets.ts"
import { BOARD_PATH } from "../board/path.ts"
import { type Content, type Html, html } from "../html.ts"
import type { Overview } from "../queue-view.ts"
import { exactly, number } from "./words.ts"

export interface Page {
  readonly title: string
  readonly body: Content
  /** The path of the link that leads here, if the navigation has one. */
  readonly at?: string
  /** How often the page is fetched again while it is visible, in milliseconds. Default: never. */
  readonly liveMs?: number
  /** The words that were searched for. */
  readonly query?: string
}

export interface Frame {
  readonly queue: string
  readonly visitor: Visitor | null
  /** `null` if Redis could not be asked. */
  readonly overview: Pick<Overview, "counts" | "pause"> | null
  /** Whether bull-board is switched on. */
  readonly hasBoard: boolean
}

export const STATES: Readonly<Record<ListedState, { readonly name: string; readonly path: string }>> = {
  waiting: { name: "Waiting", path: "/archives/waiting" },
  active: { name: "Active", path: "/archives/active" },
  delayed: { name: "Delayed", path: "/archives/delayed" },
  suspended: { name: "Suspended", path: "/archives/suspended" },
  dead: { name: "Dead letters", path: "/archives/dead" },
  committed: { name: "Committed", path: "/archives/committed" },
}

export function documentOf(page: Page, frame: Frame): string {
  const { visitor, overview, queue, hasBoard } = frame
  return `<!doctype html>\n${
    html`<html lang="en">
<head>
<meta charset="utf-8">
<title>${page.title} · Unseal</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="${assetPath("icon.svg")}" type="image/svg+xml">
<link rel="stylesheet" href="${assetPath("console.css")}">
<script type="module" src="${assetPath("console.js")}"></script>
</head>
<body${page.liveMs === undefined ? "" : html` data-live="${page.liveMs}"`}>
<a class="skip" href="#main">Skip to the content</a>
<header class="top">
<a class="brand" href="/"><img src="${assetPath("icon.svg")}" alt="" width="22" height="22"> Unseal <span class="queue" title="The queue's name">${queue}</span></a>
${visitor && searchForm(page.query ?? "")}
${visitor && whoOf(visitor)}
</header>
${visitor && navigation(page, overview, hasBoard)}
<main id="main" tabindex="-1">
${overview?.pause && pauseBanner(overview.pause.since, visitor)}
${page.body}
</main>
<footer class="bottom"><p id="live" role="status"></p><p>Unseal ${VERSION}</p></footer>
</body>
</html>`.text
  }\n`
}

const searchForm = (query: string): Html =>
  html`<form class="search" role="search" action="/search" method="get">
<label class="hidden" for="q">Archive id, its beginning, or a job id</label>
<input id="q" name="q" type="search" value="${query}" placeholder="Archive id" autocomplete="off" spellcheck="false" maxlength="200">
<button type="submit">Find</button>
</form>`

function whoOf({ name, role, mayAct, token, session }: Visitor): Html {
  const can = mayAct ? "may act" : role === "operator" ? "actions are off" : "reads only"
  return html`<div class="who"><span title="${role}: ${can}">${name} <small>${role}</small></span>
${session && html`<form method="post" action="/sign-out"><input type="hidden" name="token" value="${token}"><button class="quiet" type="submit">Sign out</button></form>`}</div>`
}

function navigation(page: Page, overview: Frame["overview"], hasBoard: boolean): Html {
  const link = (path: string, name: string, count?: Content, tone?: string) =>
    html`<li><a href="${path}"${page.at === path ? html` aria-current="page"` : ""}>${name}${count !== undefined && html` <span class="count${tone ? ` ${tone}` : ""}">${count}</span>`}</a></li>`
  return html`<nav class="states" id="states" aria-label="Pages"><ul>
${link("/", "Overview")}
${Object.entries(STATES).map(([state, { name, path }]) => {
  const count = overview?.counts[state as ListedState]
  const tone = (count ?? 0) > 0 ? { dead: "bad", suspended: "warn" }[state] : undefined
  return link(path, name, count === undefined ? "–" : number(count), tone)
})}
${link("/actions", "Actions")}
${hasBoard && link(BOARD_PATH, "bull-board")}
</ul></nav>`
}

const pauseBanner = (since: string | null, visitor: Visitor | null): Html =>
  html`<div class="banner warn" id="pause"><p><strong>The queue is paused</strong>${since !== null && html` since ${exactly(since)}`}. Nothing begins until somebody resumes it.</p>
${visitor?.mayAct && html`<a class="button" href="/resume">Resume…</a>`}</div>`
