/** `/redrive`, `/resume` and `/actions`: what an operator is about to do, and what was done. */
import type { DeadLetter } from "@unseal/queue/dead-letters/list"
import type { Suspension } from "@unseal/queue/suspension/state"
import type { Visitor } from "../access/visitor.ts"
import type { Action } from "../action.ts"
import { type Content, html } from "../html.ts"
import type { Page } from "./layout.ts"
import { ago, counted, duration, exactly, number } from "./words.ts"

export interface RedriveQuery {
  readonly code: string | undefined
  readonly projectId: string | undefined
  readonly jobId: string | undefined
}

const hidden = (fields: Readonly<Record<string, string | undefined>>) =>
  Object.entries(fields).map(
    ([name, value]) =>
      value !== undefined &&
      html`<input type="hidden" name="${name}" value="${value}">
`,
  )

/** What a choice of dead letters says. */
export function choiceText({ code, projectId, jobId }: RedriveQuery): string {
  if (jobId !== undefined) return `of job ${jobId}`
  const parts = [code && `with ${code}`, projectId && `of project ${projectId}`].filter(Boolean)
  return parts.length === 0 ? "of all codes and projects" : parts.join(" ")
}

export function redrivePage(
  query: RedriveQuery,
  counted_: {
    readonly count: number
    readonly isMore: boolean
    readonly some: readonly DeadLetter[]
    readonly at: string
  },
  visitor: Visitor,
): Page {
  const { count, isMore, some, at } = counted_
  const what = `${isMore ? "more than " : ""}${counted(count, "dead letter")} ${choiceText(query)}`
  return {
    title: "Redrive",
    body: html`<h1>Redrive ${what}?</h1>
${
  count === 0
    ? html`<p>There are none. Somebody may have redriven or discarded them.</p>`
    : html`<p>Each becomes a new job with fresh counters, and goes to the end of its project's line. Redrive them once the cause is gone: otherwise they come back. Those that are given up from now on are left alone.</p>
<ul>${some.map(
        ({
          jobId,
          archiveId,
          projectId,
          reason,
        }) => html`<li><a class="id" href="/jobs/${encodeURIComponent(jobId)}">${archiveId}</a> of <span class="id">${projectId}</span>: <span class="reason">${reason}</span></li>
`,
      )}${count > some.length && html`<li>and ${number(count - some.length)} more</li>`}</ul>
<form class="confirm" method="post" action="/redrive">
${hidden({ token: visitor.token, code: query.code, project: query.projectId, job: query.jobId, before: at, count: String(count) })}
<button class="danger" type="submit">Redrive ${isMore ? "all of them" : counted(count, "dead letter")}</button> <a href="/archives/dead">Cancel</a></form>`
}`,
  }
}

export function resumePage(
  query: { readonly projectId: string | undefined; readonly side: string | undefined },
  suspensions: readonly Suspension[],
  isPaused: boolean,
  visitor: Visitor,
): Page {
  const held = suspensions.reduce((sum, one) => sum + one.held, 0)
  const endsPause = isPaused && query.projectId === undefined && query.side === undefined
  const nothing = suspensions.length === 0 && !endsPause
  return {
    title: "Resume",
    body: html`<h1>${nothing ? "Nothing to resume" : `End ${[endsPause ? "the pause" : null, suspensions.length > 0 ? counted(suspensions.length, "suspension") : null].filter(Boolean).join(" and ")}?`}</h1>
${
  nothing
    ? html`<p>It may have ended by itself.</p><p><a href="/">Back to the overview</a></p>`
    : html`<p>${suspensions.length > 0 && html`${counted(held, "archive goes", "archives go")} back in line. What is still broken is suspended again by the first of them, so that this does no harm; it only saves the wait for the next try. `}${endsPause && "Workers begin what waits."}</p>
<ul>${suspensions.map(
        ({
          projectId,
          side,
          code,
          held,
          since,
        }) => html`<li>Project <span class="id">${projectId}</span>, ${side}: <span class="code">${code}</span> since ${exactly(since)}, ${counted(held, "archive")}</li>
`,
      )}</ul>
<form class="confirm" method="post" action="/resume">
${hidden({ token: visitor.token, project: query.projectId, side: query.side })}
<button class="danger" type="submit">Resume</button> <a href="/">Cancel</a></form>`
}`,
  }
}

export function actionsPage(actions: readonly Action[], startedAt: string, now: number): Page {
  return {
    title: "Actions",
    at: "/actions",
    liveMs: actions.some(({ state }) => state === "running") ? 1_000 : 5_000,
    body: html`<h1>Actions</h1>
<p class="about">What operators did here since this console started, ${ago(startedAt, now)}. Its log has all of it, with names.</p>
${
  actions.length === 0
    ? html`<p class="none">None.</p>`
    : html`<div class="scroll"><table role="table"><caption class="hidden">Actions, the newest first</caption>
<thead role="rowgroup"><tr role="row">${["When", "Who", "What", "Result"].map((name) => html`<th role="columnheader" scope="col">${name}</th>`)}</tr></thead>
<tbody role="rowgroup">${actions.map(
        (action) =>
          html`<tr role="row" data-key="${action.id}"><td role="cell" data-label="When">${exactly(action.startedAt)}</td><td role="cell" data-label="Who">${action.who}</td><td role="cell" data-label="What"><a href="/actions/${action.id}">${action.what}</a></td><td role="cell" data-label="Result">${resultOf(action)}</td></tr>
`,
      )}</tbody></table></div>`
}`,
  }
}

export function actionPage(action: Action, now: number): Page {
  const { what, who, startedAt, endedAt, state, done, total, refused } = action
  return {
    title: "Action",
    ...(state === "running" && { liveMs: 1_000 }),
    body: html`<h1>${what}</h1>
<p>By ${who}, ${ago(startedAt, now)}${endedAt !== null && `, in ${duration(Date.parse(endedAt) - Date.parse(startedAt))}`}.</p>
<p>${resultOf(action)}</p>
${state === "running" && total > 0 && html`<progress max="${total}" value="${Math.min(done, total)}" aria-label="Progress"></progress>`}
${
  refused.length > 0 &&
  html`<h2>Refused</h2><ul>${refused.map(
    ({
      jobId,
      reason,
    }) => html`<li><a class="id" href="/jobs/${encodeURIComponent(jobId)}">${jobId}</a> ${reason}</li>
`,
  )}</ul>`
}
<p><a href="/archives/dead">Dead letters</a> · <a href="/archives/waiting">Waiting</a> · <a href="/actions">All actions</a></p>`,
  }
}

function resultOf({ state, done, total, refusedCount, error }: Action): Content {
  const counts = `${number(done)}${total > 0 ? ` of ${number(total)}` : ""} done${refusedCount > 0 ? `, ${number(refusedCount)} refused` : ""}`
  switch (state) {
    case "running":
      return html`<span class="tag">running</span> ${counts}`
    case "done":
      return html`<span class="tag good">done</span> ${counts}`
    case "failed":
      return html`<span class="tag bad">failed</span> ${counts}: ${error}`
    case "stopped":
      return html`<span class="tag warn">stopped</span> ${counts}: the console was shut down. Do it again for the rest.`
  }
}
