/** `/search`: finds archives by their id or its beginning. */
import type { ArchiveSearch } from "@unseal/queue/jobs/archive-jobs"
import { html } from "../html.ts"
import { withQuery } from "./archives.ts"
import { type Page, STATES } from "./layout.ts"
import { ago, counted } from "./words.ts"

/** What a search is for, by the form of its words. */
export type Wanted =
  | { readonly kind: "job"; readonly jobId: string }
  | { readonly kind: "archive"; readonly archiveId: string }
  | { readonly kind: "nothing" }

const JOB_ID = /^[0-9A-Za-z-]{1,64}_[0-9a-f-]{36}_[0-9a-z_]{1,40}$/
/** Fewer characters would match a great part of the queue. */
const BEGINNING = /^[0-9a-f][0-9a-f-]{3,35}$/

export function wantedBy(query: string): Wanted {
  const words = query.trim()
  if (JOB_ID.test(words)) return { kind: "job", jobId: words }
  const archiveId = words.toLowerCase()
  return BEGINNING.test(archiveId) ? { kind: "archive", archiveId } : { kind: "nothing" }
}

export function searchPage(query: string, found: ArchiveSearch | null, now: number): Page {
  return {
    title: "Search",
    query,
    body: html`<h1>Search</h1>${bodyOf(query, found, now)}`,
  }
}

function bodyOf(query: string, found: ArchiveSearch | null, now: number) {
  if (query.trim() === "")
    return html`<p>Search for an archive's id, or at least its first four characters.</p>`
  if (found === null)
    return html`<p>${query} is not an archive id. An id is a UUID, and the callback has it in <code>id</code>. Its first four characters are enough to find it.</p>
${/^[\w-]{1,64}$/.test(query.trim()) && html`<p>If it is a project: <a href="${withQuery(STATES.waiting.path, { project: query.trim() })}">its waiting archives</a>, <a href="${withQuery(STATES.dead.path, { project: query.trim() })}">its dead letters</a>.</p>`}`
  const { jobs, isComplete } = found
  if (jobs.length === 0)
    return html`<p>The queue knows no archive ${query}${!isComplete && " among the first million keys of Redis"}. An archive is forgotten an hour after its commit: <code>unseal archives show ${query}</code> looks in the stores and asks the vendor.</p>`
  return html`<p>${counted(jobs.length, "job")}${!isComplete && ", and there may be more"}.</p>
<ul class="found">${jobs.map(
    ({ jobId, archiveId, projectId, state, addedAt }) =>
      html`<li data-key="${jobId}"><a class="id" href="/jobs/${encodeURIComponent(jobId)}">${archiveId}</a> project <span class="id">${projectId}</span> <span class="tag">${state === "held" ? "suspended" : state}</span> enqueued ${ago(addedAt, now)}</li>
`,
  )}</ul>`
}
