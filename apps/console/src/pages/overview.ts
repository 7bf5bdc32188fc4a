/** `/`: what needs somebody, the queue and the workers at a glance. */
import { FAILURES, type FailureCode } from "@unseal/queue/run/ending"
import type { Suspension } from "@unseal/queue/suspension/state"
import type { Visitor } from "../access/visitor.ts"
import { type Content, type Html, html } from "../html.ts"
import { DEAD_LETTERS_COUNTED, type Overview } from "../queue-view.ts"
import { table, withQuery } from "./archives.ts"
import { chart } from "./chart.ts"
import { type Page, STATES } from "./layout.ts"
import { bytes, counted, duration, number, sentence, since, within } from "./words.ts"

/** Something that does not go as it should. */
interface Finding {
  readonly key: string
  readonly tone: "bad" | "warn"
  readonly what: Content
  /** Whose move it is, and which. */
  readonly move: Content
  readonly links: Content
}

export function overviewPage(overview: Overview, visitor: Visitor, now: number): Page {
  const findings = findingsOf(overview, visitor, now)
  return {
    title: "Overview",
    at: "/",
    liveMs: 2_000,
    body: html`<h1>${headline(overview, findings)}</h1>
${findings.length === 0 && html`<p class="about">The queue can't know what Redis has lost, or that callbacks do not arrive. Alerts watch for that.</p>`}
${
  findings.length > 0 &&
  html`<section aria-labelledby="findings"><h2 id="findings" class="hidden">What needs somebody</h2>
<ul class="findings">${findings.map(
    ({ key, tone, what, move, links }) =>
      html`<li class="${tone}" data-key="${key}"><p class="what">${what}</p><p class="move">${move}</p><p class="links">${links}</p></li>
`,
  )}</ul></section>`
}
${tiles(overview)}
<div class="columns">
<section aria-labelledby="throughput"><h2 id="throughput">Committed per minute</h2>${chart(overview.committedPerMinute)}</section>
${workersOf(overview)}
</div>
<section aria-labelledby="running"><h2 id="running">Running now</h2>
${overview.running.length > 0 ? table(overview.running, "active", "Running now", now) : html`<p class="none">Nothing runs.</p>`}
${overview.counts.active > overview.running.length && html`<p><a href="${STATES.active.path}">All ${number(overview.counts.active)} active archives</a></p>`}
</section>`,
  }
}

function headline({ counts, exists, pause }: Overview, findings: readonly Finding[]): string {
  if (!exists) return "Nothing was ever put into this queue"
  if (pause !== null) return "The queue is paused"
  if (findings.length > 0)
    return findings.length === 1 ? "One thing needs you" : `${findings.length} things need you`
  if (counts.active + counts.waiting > 0) return "All is well"
  return "All is well, and nothing waits"
}

function findingsOf(overview: Overview, visitor: Visitor, now: number): Finding[] {
  const { counts, workers, suspensions, deadLetters, accounts, memory } = overview
  const findings: Finding[] = []
  if (workers.unseen === null && workers.workers.length === 0 && overview.exists)
    findings.push({
      ...{ key: "workers", tone: "bad" },
      what: html`<strong>No worker is connected.</strong> ${counts.waiting > 0 && html`${counted(counts.waiting, "archive waits", "archives wait")}.`}`,
      move: html`<b>Your move:</b> start workers, or see in their log why they end.`,
      links: null,
    })
  if (memory !== null && memory.limitBytes > 0 && memory.usedBytes > 0.8 * memory.limitBytes)
    findings.push({
      ...{ key: "memory", tone: "bad" },
      what: html`<strong>Redis is nearly full:</strong> ${bytes(memory.usedBytes)} of ${bytes(memory.limitBytes)}. Ingest refuses callbacks from 80 % on; the vendor sends them again.`,
      move: html`<b>Your move:</b> raise maxmemory, or add workers so that the queue gets shorter.`,
      links: null,
    })
  const ending = endingWorkersFinding(overview)
  if (ending !== null) findings.push(ending)
  findings.push(...suspensions.map((one) => suspensionFinding(one, visitor, now)))
  for (const [code, count] of [...deadLetters].sort(([, one], [, other]) => other - one))
    findings.push(deadLetterFinding(code, count, counts.dead, visitor))
  if (accounts.missing > 0)
    findings.push({
      ...{ key: "missing", tone: "bad" },
      what: html`<strong>${counted(accounts.missing, "accepted archive is", "accepted archives are")} missing.</strong> A job was removed by hand, or Redis has lost it.`,
      move: html`<b>Your move:</b> <code>unseal archives reconcile</code> enqueues what is not at its destination.`,
      links: null,
    })
  return findings
}

/** One lost worker is an eviction. An archive that has lost several workers may be the cause. */
const LOST_WORKERS = 2

/** Looks at the archives that have run for longest. When a worker dies or freezes, its locks in Redis expire. */
function endingWorkersFinding({ running }: Overview): Finding | null {
  const abandoned = running.filter(({ isLocked }) => isLocked === false)
  const worst = running.reduce((most, { lostWorkers }) => Math.max(most, lostWorkers), 0)
  if (abandoned.length === 0 && worst < LOST_WORKERS) return null
  return {
    ...{ key: "ending workers", tone: "bad" },
    what: html`<strong>Workers died or froze with archives in hand.</strong> ${abandoned.length > 0 && `${counted(abandoned.length, "archive waits", "archives wait")} for another worker to notice. `}${worst >= LOST_WORKERS && `One archive has lost its worker ${worst} times.`}`,
    move: html`<b>Your move:</b> look in the workers' logs, and in the platform's events, for what ends or blocks them: a memory limit, evictions, or this archive. Another worker continues after the parts that are already written.`,
    links: html`<a href="${STATES.active.path}">Active archives</a>`,
  }
}

export const SIDE_OWNERS: Readonly<Record<Suspension["side"], string>> = {
  source: "the store that the vendor uploads to, or its credentials here",
  destination: "the store for plaintext, or its credentials here",
  keys: "the project's private keys",
  vendor: "the vendor's copy, or the network to it",
}

function suspensionFinding(suspension: Suspension, visitor: Visitor, now: number): Finding {
  const { projectId, side, code, reason, remedy, held, nextProbeAt } = suspension
  return {
    key: `suspension ${projectId} ${side}`,
    tone: "warn",
    what: html`<strong>Project <span class="id">${projectId}</span> waits for its ${side}</strong> (${SIDE_OWNERS[side]}) for ${since(suspension.since, now)}: ${counted(held, "archive is", "archives are")} held. <span class="code">${code}</span> <span class="reason">${reason.replace(/^ERR_[A-Z_]+: /, "")}</span>`,
    move: html`<b>Your move:</b> ${sentence(remedy)} Then everything goes on by itself; the next archive tries it ${nextProbeAt === null ? "now" : within(nextProbeAt, now)}.`,
    links: html`<a href="${withQuery(STATES.suspended.path, { project: projectId })}">Its archives</a>
${visitor.mayAct && html`<a class="button" href="${withQuery("/resume", { project: projectId, side })}">Try now…</a>`}`,
  }
}

function deadLetterFinding(code: FailureCode, count: number, total: number, visitor: Visitor): Finding {
  const { meaning, remedy } = FAILURES[code]
  return {
    key: `dead ${code}`,
    tone: "bad",
    what: html`<strong>${counted(count, "dead letter")}</strong>${total > DEAD_LETTERS_COUNTED && html` of the ${number(DEAD_LETTERS_COUNTED)} newest`}: <span class="code">${code}</span> <span class="reason">${meaning}</span>`,
    move: html`<b>Your move:</b> ${sentence(remedy)}`,
    links: html`<a href="${withQuery(STATES.dead.path, { code })}">See them</a>
${visitor.mayAct && html`<a class="button" href="${withQuery("/redrive", { code })}">Redrive…</a>`}`,
  }
}

function tiles({ counts, status, backlog, accounts, committedPerMinute }: Overview): Html {
  const lastHour = committedPerMinute.reduce((sum, count) => sum + count, 0)
  const tile = (name: string, value: Content, more: Content, path?: string) =>
    html`<li>${path === undefined ? html`<span class="name">${name}</span>` : html`<a class="name" href="${path}">${name}</a>`} <span class="value">${value}</span> <span class="more">${more}</span></li>
`
  return html`<section aria-labelledby="glance"><h2 id="glance" class="hidden">The queue at a glance</h2><ul class="tiles">
${tile("Waiting", number(counts.waiting), html`${bytes(backlog.waitingBytes)}${status.lanes.bulk.waiting > 0 && html`, ${number(status.lanes.bulk.waiting)} of them bulk`}`, STATES.waiting.path)}
${tile("Oldest wait", status.oldestWaitingSeconds === 0 ? "–" : duration(status.oldestWaitingSeconds * 1_000), "of the next live ones in line")}
${tile("Active", number(counts.active), bytes(backlog.activeBytes), STATES.active.path)}
${tile("Delayed", number(counts.delayed), "go on by themselves", STATES.delayed.path)}
${tile("Suspended", number(counts.suspended), "wait for a repair", STATES.suspended.path)}
${tile("Dead letters", number(counts.dead), "wait for somebody", STATES.dead.path)}
${tile("Committed", number(lastHour), html`in the last hour, ${number(accounts.committed)} in all`, STATES.committed.path)}
</ul></section>`
}

function workersOf({ workers: { workers, unseen } }: Overview): Html {
  return html`<section aria-labelledby="workers"><h2 id="workers">Workers <span class="total">${number(workers.length)}</span></h2>
${unseen !== null && html`<p class="about">Only workers that run something are listed: ${unseen}.</p>`}
${
  workers.length === 0
    ? html`<p class="none">None.</p>`
    : html`<ul class="workers">${workers.slice(0, 50).map(
        ({ name, running, isConnected, connectedSeconds }) =>
          html`<li data-key="${name}"><span class="id">${name}</span> <span>${running === 0 ? "idle" : counted(running, "archive")}${isConnected === false && html` <span class="tag warn">not connected</span>`}</span> <span class="more">${connectedSeconds !== null && `connected for ${duration(connectedSeconds * 1_000)}`}</span></li>
`,
      )}</ul>`
}
${workers.length > 50 && html`<p class="about">And ${number(workers.length - 50)} more.</p>`}</section>`
}
