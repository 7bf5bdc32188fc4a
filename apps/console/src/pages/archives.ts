/** `/archives/STATE`: the archives in one state, a page at a time. */
import type { ArchiveJob } from "@unseal/queue/jobs/archive-jobs"
import type { ArchivePage, ListedState } from "@unseal/queue/jobs/archive-pages"
import { FAILURES, type FailureCode } from "@unseal/queue/run/ending"
import type { Visitor } from "../access/visitor.ts"
import { type Content, type Html, html } from "../html.ts"
import type { Overview } from "../queue-view.ts"
import { type Page, STATES } from "./layout.ts"
import { ago, bytes, counted, duration, number, sentence, since, within } from "./words.ts"

export interface ArchivesQuery {
  readonly state: ListedState
  readonly projectId: string | undefined
  readonly code: FailureCode | undefined
  readonly after: string | undefined
}

interface Column {
  readonly name: string
  readonly isNumber?: true
  readonly cell: (job: ArchiveJob, now: number) => Content
}

const ABOUT: Readonly<Record<ListedState, string>> = {
  waiting:
    "They could begin now, and are taken in this order. Projects take turns. Bulk archives come after all others, apart from their share.",
  active:
    "Workers decrypt them now, the longest running first. Small archives have no parts, so they show no progress.",
  delayed:
    "They wait for their next attempt, or until their object is looked for again. It happens by itself.",
  suspended:
    "Trouble of the deployment holds them back. They use up no attempt, and go on by themselves once it ends.",
  dead: "They were given up, and stay until somebody redrives or discards them. The newest come first.",
  committed: "Their plaintext is at its destination. The queue remembers an archive for an hour after that.",
}

const archive: Column = {
  name: "Archive",
  cell: ({ jobId, archiveId, lane }) =>
    html`<a class="id" href="/jobs/${encodeURIComponent(jobId)}">${archiveId}</a>${lane === "bulk" && html` <span class="tag">bulk</span>`}`,
}
const project: Column = {
  name: "Project",
  cell: ({ projectId }) => html`<span class="id">${projectId}</span>`,
}
const size: Column = {
  name: "Size",
  isNumber: true,
  cell: ({ announcedBytes, result, upload }) => {
    const known = typeof result?.size === "number" ? result.size : (upload?.bytes ?? announcedBytes)
    return known === undefined ? "–" : bytes(known)
  },
}
const age: Column = { name: "Age", isNumber: true, cell: ({ addedAt }, now) => since(addedAt, now) }
const attempts: Column = { name: "Attempts", isNumber: true, cell: (job) => number(job.attempts) }
const ran: Column = {
  name: "Duration",
  isNumber: true,
  cell: ({ runMs }) => (runMs === undefined ? "–" : duration(runMs)),
}

const COLUMNS: Readonly<Record<ListedState, readonly Column[]>> = {
  waiting: [
    archive,
    project,
    size,
    age,
    { name: "In line", isNumber: true, cell: ({ ahead }) => (ahead === undefined ? "–" : number(ahead + 1)) },
    attempts,
  ],
  active: [
    archive,
    project,
    { name: "Progress", cell: progressOf },
    size,
    { ...ran, name: "Running for" },
    age,
    {
      name: "Worker",
      cell: ({ worker, isLocked }) =>
        html`<span class="id">${worker ?? "–"}</span>${isLocked === false && html` <span class="tag warn">gone</span>`}`,
    },
  ],
  delayed: [
    archive,
    project,
    { name: "Waits for", cell: waitsFor },
    {
      name: "Due",
      isNumber: true,
      cell: ({ until }, now) => (until === undefined ? "–" : within(until, now)),
    },
    size,
    age,
    attempts,
  ],
  suspended: [
    archive,
    project,
    {
      name: "Waits for",
      cell: ({ suspension }) =>
        suspension === undefined
          ? "–"
          : html`${suspension.side} <span class="code">${suspension.code}</span>${suspension.isProbe && html` <span class="tag">tried next</span>`}`,
    },
    { name: "Held for", isNumber: true, cell: (job, now) => since(job.since, now) },
    size,
    age,
  ],
  dead: [
    archive,
    project,
    {
      name: "Why",
      cell: ({ failure }) =>
        html`<span class="code">${failure?.code ?? "–"}</span> <span class="reason">${messageIn(failure?.reason)}</span>`,
    },
    { name: "Given up", isNumber: true, cell: (job, now) => ago(job.since, now) },
    size,
    ran,
    attempts,
  ],
  committed: [
    archive,
    project,
    size,
    { name: "Committed", isNumber: true, cell: (job, now) => ago(job.since, now) },
    ran,
    {
      name: "Outcome",
      cell: ({ result }) => (typeof result?.outcome === "string" ? result.outcome.replaceAll("-", " ") : "–"),
    },
  ],
}

/** The message of a reason `CODE: message`. */
export const messageIn = (reason: string | undefined): string => (reason ?? "").replace(/^ERR_[A-Z_]+: /, "")

export function progressOf({ upload }: ArchiveJob): Content {
  if (upload === undefined) return "–"
  const { bytes: all, bytesWritten, parts, partsWritten } = upload
  const percent = all === 0 ? 100 : Math.floor((100 * bytesWritten) / all)
  return html`<progress max="100" value="${percent}" aria-label="Written">${percent} %</progress> <span class="percent" title="${counted(partsWritten, "part")} of ${number(parts)}">${percent} %</span>`
}

function waitsFor({ missingSince, archivedSince, failure }: ArchiveJob, now: number): Content {
  if (archivedSince !== undefined) return html`its object, in cold storage for ${since(archivedSince, now)}`
  if (missingSince !== undefined) return html`its object, missing for ${since(missingSince, now)}`
  return failure === null ? "its turn" : html`another attempt after <span class="code">${failure.code}</span>`
}

export function table(jobs: readonly ArchiveJob[], state: ListedState, caption: string, now: number): Html {
  const columns = COLUMNS[state]
  const className = ({ isNumber }: Column) => (isNumber ? html` class="number"` : "")
  return html`<div class="scroll"><table role="table"><caption class="hidden">${caption}</caption>
<thead role="rowgroup"><tr role="row">${columns.map((column) => html`<th role="columnheader" scope="col"${className(column)}>${column.name}</th>`)}</tr></thead>
<tbody role="rowgroup">${jobs.map(
    (job) =>
      html`<tr role="row" data-key="${job.jobId}">${columns.map((column) => html`<td role="cell" data-label="${column.name}"${className(column)}>${column.cell(job, now)}</td>`)}</tr>
`,
  )}</tbody></table></div>`
}

export function archivesPage(
  query: ArchivesQuery,
  page: ArchivePage,
  overview: Pick<Overview, "counts" | "deadLetters" | "suspensions">,
  visitor: Visitor,
  now: number,
): Page {
  const { state, after } = query
  const { name, path } = STATES[state]
  const isFiltered = query.projectId !== undefined || query.code !== undefined
  return {
    title: name,
    at: path,
    // A page that somebody has turned to stays as it is, unless it shows what runs.
    ...((after === undefined || state === "active") && { liveMs: state === "active" ? 2_000 : 5_000 }),
    body: html`<h1>${name} <span class="total">${number(overview.counts[state])}</span></h1>
<p class="about">${ABOUT[state]}</p>
${state === "dead" && codesOf(query, overview, visitor)}
${filterForm(query)}
${page.jobs.length > 0 ? table(page.jobs, state, name, now) : html`<p class="none">${emptyText(page, isFiltered)}</p>`}
${pager(query, page)}`,
  }
}

function emptyText({ next, looked }: ArchivePage, isFiltered: boolean): string {
  if (next !== null) return `None among the ${number(looked)} archives that were looked at.`
  return isFiltered ? "None match." : "None."
}

function filterForm({ state, projectId, code }: ArchivesQuery): Html {
  const codes = Object.keys(FAILURES)
  return html`<form class="filter" method="get" action="${STATES[state].path}">
<label>Project <input name="project" value="${projectId ?? ""}" maxlength="64" autocomplete="off" spellcheck="false" placeholder="all"></label>
${
  state === "dead" &&
  html`<label>Code <select name="code"><option value="">all</option>${codes.map((one) => html`<option${one === code ? html` selected` : ""}>${one}</option>`)}</select></label>`
}
<button type="submit">Filter</button>
${(projectId !== undefined || code !== undefined) && html`<a href="${STATES[state].path}">Show all</a>`}
</form>`
}

export function withQuery(path: string, query: Readonly<Record<string, string | undefined>>): string {
  const given = Object.entries(query).filter((pair): pair is [string, string] => pair[1] !== undefined)
  return given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`
}

function pager({ state, projectId, code, after }: ArchivesQuery, { next }: ArchivePage): Content {
  if (next === null && after === undefined) return null
  const { path } = STATES[state]
  const filter = { project: projectId, code }
  return html`<nav class="pager" aria-label="Pages of the list">
${after !== undefined && html`<a href="${withQuery(path, filter)}">First page</a>`}
${next !== null && html`<a rel="next" href="${withQuery(path, { ...filter, after: next })}">Next page</a>`}
</nav>`
}

/** The dead letters by code: what each means, whose move it is, and the way to it. */
function codesOf(
  { projectId }: ArchivesQuery,
  { deadLetters, counts }: Pick<Overview, "counts" | "deadLetters">,
  visitor: Visitor,
): Content {
  if (deadLetters.size === 0) return null
  const total = [...deadLetters.values()].reduce((sum, count) => sum + count, 0)
  return html`<section class="codes" aria-labelledby="by-code"><h2 id="by-code">By code</h2>
${total < counts.dead && html`<p>Among the ${number(total)} newest.</p>`}
<ul>${[...deadLetters]
    .sort(([, one], [, other]) => other - one)
    .map(
      ([code, count]) =>
        html`<li data-key="${code}"><h3><a class="code" href="${withQuery(STATES.dead.path, { project: projectId, code })}">${code}</a> <span class="count bad">${number(count)}</span></h3>
<p>${sentence(FAILURES[code].meaning)}</p><p class="move"><b>Your move:</b> ${FAILURES[code].remedy}.</p>
${visitor.mayAct && html`<a class="button" href="${withQuery("/redrive", { code, project: projectId })}">Redrive these…</a>`}</li>`,
    )}</ul></section>`
}
