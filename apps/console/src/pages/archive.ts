/** `/jobs/ID`: one archive's history, as far as the queue remembers it. */
import { recordKeyOf } from "@unseal/archive/record/record"
import type { ArchiveJob } from "@unseal/queue/jobs/archive-jobs"
import { FAILURES } from "@unseal/queue/run/ending"
import type { Visitor } from "../access/visitor.ts"
import { type Content, type Html, html } from "../html.ts"
import type { Overview } from "../queue-view.ts"
import { messageIn, progressOf, withQuery } from "./archives.ts"
import type { Page } from "./layout.ts"
import { SIDE_OWNERS } from "./overview.ts"
import { bytes, counted, duration, exactly, number, sentence, since, within } from "./words.ts"

const STATE_NAMES: Readonly<Record<ArchiveJob["state"], readonly [name: string, tone: string]>> = {
  waiting: ["waiting", ""],
  running: ["active", "good"],
  delayed: ["delayed", ""],
  held: ["suspended", "warn"],
  dead: ["dead letter", "bad"],
  completed: ["committed", "good"],
  orphaned: ["orphaned", "bad"],
}

/** `jobs` are the job and those that it was redriven from and as, the first one first. Not empty. */
export function archivePage(
  jobs: readonly ArchiveJob[],
  jobId: string,
  { pause }: Pick<Overview, "pause">,
  visitor: Visitor,
  now: number,
): Page {
  const job = jobs.find((one) => one.jobId === jobId) ?? jobs.at(-1)!
  const others = jobs.filter((one) => one !== job)
  const [state, tone] = STATE_NAMES[job.state]
  return {
    title: `Archive ${job.archiveId}`,
    liveMs: job.state === "running" ? 2_000 : 5_000,
    body: html`<h1>Archive <span class="id">${job.archiveId}</span></h1>
<p class="state"><span class="tag ${tone}">${state}</span> for ${since(job.since, now)} · project <span class="id">${job.projectId}</span></p>
<div class="next ${tone}"><h2>What is next</h2>${nextOf(job, pause !== null, now)}
${job.state === "dead" && visitor.mayAct && !job.damaged && html`<a class="button" href="${withQuery("/redrive", { job: job.jobId })}">Redrive…</a>`}
${job.state === "held" && visitor.mayAct && job.suspension && html`<a class="button" href="${withQuery("/resume", { project: job.projectId, side: job.suspension.side })}">Try now…</a>`}</div>
<div class="columns">
<section aria-labelledby="history"><h2 id="history">History</h2>${historyOf(job)}</section>
<section aria-labelledby="facts"><h2 id="facts">What is known</h2>${factsOf(job)}</section>
</div>
<section aria-labelledby="record"><h2 id="record">Record at the destination</h2>${recordOf(job)}</section>
${
  others.length > 0 &&
  html`<section aria-labelledby="others"><h2 id="others">The same archive, redriven</h2><ul>${others.map(
    (one) =>
      html`<li data-key="${one.jobId}"><a class="id" href="/jobs/${encodeURIComponent(one.jobId)}">${one.jobId}</a> <span class="tag ${STATE_NAMES[one.state][1]}">${STATE_NAMES[one.state][0]}</span></li>
`,
  )}</ul></section>`
}
<section aria-labelledby="unknown"><h2 id="unknown">What is not known here</h2><ul>${unknownOf(job).map(
      (text) => html`<li>${text}</li>
`,
    )}</ul></section>
<p class="about">Job <span class="id">${job.jobId}</span> · <a href="/search?q=${encodeURIComponent(job.archiveId)}">look for other jobs of this archive</a></p>`,
  }
}

/** What happens by itself, or whose move it is. */
function nextOf(job: ArchiveJob, isPaused: boolean, now: number): Html {
  if (isPaused && !["running", "dead", "completed"].includes(job.state))
    return html`<p>The queue is paused: nothing begins until somebody resumes it.</p>`
  switch (job.state) {
    case "waiting":
      return html`<p>A worker takes it in its turn${job.ahead !== undefined && html`: ${job.ahead === 0 ? "it is the next one" : `${counted(job.ahead, "archive is", "archives are")} before it`}`}.</p>`
    case "running":
      return job.isLocked
        ? html`<p>Worker <span class="id">${job.worker ?? "unknown"}</span> decrypts it, for ${duration(job.runMs ?? 0)} so far. ${progressOf(job)}</p>`
        : html`<p>Its worker <span class="id">${job.worker ?? "unknown"}</span> is gone. Another one takes it within a minute, and goes on from the parts that are written.</p>`
    case "delayed":
      return html`<p>${
        job.archivedSince !== undefined
          ? html`Its object is in cold storage since ${exactly(job.archivedSince)}. <b>Your move:</b> restore it.`
          : job.missingSince !== undefined
            ? html`Its object is not at the source since ${exactly(job.missingSince)}. <b>The vendor's move:</b> to upload it. If it stays away, compare the source's key templates with the store.`
            : html`It is tried again by itself.`
      } ${job.until !== undefined && html`The next look is ${within(job.until, now)}.`}</p>`
    case "held": {
      const { suspension } = job
      if (suspension === undefined) return html`<p>It goes back in line.</p>`
      return html`<p>Its project waits for its ${suspension.side}: ${SIDE_OWNERS[suspension.side]}. <span class="code">${suspension.code}</span> ${messageIn(suspension.reason)}</p>
<p class="move"><b>Your move:</b> ${sentence(suspension.remedy)} Then it goes on by itself.${job.until !== undefined && !suspension.isProbe && html` Otherwise it becomes a dead letter ${within(job.until, now)}.`}</p>`
    }
    case "dead": {
      const { meaning, remedy } = FAILURES[job.failure?.code ?? "ERR_UNEXPECTED"]
      return html`<p><span class="code">${job.failure?.code}</span> ${sentence(meaning)}</p><p class="reason">${messageIn(job.failure?.reason)}</p>
<p class="move"><b>Your move:</b> ${job.damaged ? html`its payload is lost, so it can't be redriven: <code>unseal submit CALLBACK.json</code> or <code>unseal archives reconcile</code> takes its place.` : sentence(remedy)}</p>`
    }
    case "completed":
      return html`<p>Nothing: it is decrypted.</p>`
    case "orphaned":
      return html`<p>Redis has lost its place in line. Its next callback puts it back, or <code>unseal archives reconcile</code>.</p>`
  }
}

/** What happened, the oldest first. Moments that nobody noted are left out. */
function historyOf(job: ArchiveJob): Html {
  const begunAt = beginOf(job)
  const events: [at: string | undefined, what: Content][] = [
    [
      job.receivedAt,
      html`The callback arrived${job.status !== undefined && html`, with status <span class="code">${job.status}</span>`}${job.announcedBytes !== undefined && ` and a size of ${bytes(job.announcedBytes)}`}.`,
    ],
    [job.addedAt, "It was put in line."],
    [job.missingSince, "Its object was missing for the first time."],
    [job.archivedSince, "Its object was in cold storage for the first time."],
    [
      begunAt,
      html`Its last run began${job.worker !== undefined && html`, at worker <span class="id">${job.worker}</span>`}.`,
    ],
  ]
  if (job.state === "held")
    events.push([job.since, html`It was held: <span class="code">${job.suspension?.code}</span>`])
  if (job.state === "dead")
    events.push([job.since, html`It was given up: <span class="code">${job.failure?.code}</span>`])
  if (job.state === "completed") events.push([job.since, "It was committed."])
  const known = events.filter((event): event is [string, Content] => event[0] !== undefined)
  return html`<ol class="history">${known
    .sort(([one], [other]) => Date.parse(one) - Date.parse(other))
    .map(
      ([at, what]) => html`<li>${exactly(at)} <span>${what}</span></li>
`,
    )}</ol>`
}

function beginOf({ state, since, runMs }: ArchiveJob): string | undefined {
  if (state === "running") return since
  if (runMs === undefined || !["dead", "completed"].includes(state)) return undefined
  return new Date(Date.parse(since) - runMs).toISOString()
}

function factsOf(job: ArchiveJob): Html {
  const { upload, failure } = job
  const rows: [name: string, value: Content][] = [
    [
      "Size in the callback",
      job.announcedBytes === undefined
        ? "not announced"
        : `${bytes(job.announcedBytes)} (${number(job.announcedBytes)} bytes)`,
    ],
    ["Failed attempts", number(job.attempts)],
    ["Lane", job.lane === "bulk" ? "bulk: it waits for live archives, apart from a share" : "live"],
    [
      "Last failure",
      failure === null
        ? "none"
        : html`<span class="code">${failure.code}</span> ${messageIn(failure.reason)}`,
    ],
    ["Workers lost while they ran it", number(job.lostWorkers)],
    ["Last run", job.runMs === undefined ? "not noted" : duration(job.runMs)],
  ]
  if (upload !== undefined)
    rows.push(
      ["Upload to", html`<span class="id">${upload.destinationKey}</span>`],
      [
        "Parts written",
        html`${number(upload.partsWritten)} of ${number(upload.parts)}, ${bytes(upload.bytesWritten)} of ${bytes(upload.bytes)}`,
      ],
    )
  return html`<dl>${rows.map(
    ([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>
`,
  )}</dl>`
}

function recordOf({ result, state, jobId, archiveId }: ArchiveJob): Html {
  const show = html`<code>unseal archives show ${archiveId}</code> reads it.`
  if (result === undefined)
    return html`<p>${state === "dead" || state === "completed" ? "Not known here:" : "There is none yet, unless it was decrypted before:"} ${show}</p>`
  const names: Readonly<Record<string, string>> = {
    ...{ outcome: "Outcome", destinationKey: "Plaintext at", size: "Bytes of plaintext", tail: "Tail" },
    ...{ syncErrors: "Packets without a sync byte", announcedSize: "The callback's size" },
  }
  return html`<p>What its run reported:</p><dl data-key="${jobId}">${Object.entries(result).map(
    ([
      name,
      value,
    ]) => html`<div><dt>${names[name] ?? name}</dt><dd>${typeof value === "number" ? number(value) : String(value)}</dd></div>
`,
  )}</dl><p>The record itself, <code>archive.json</code>, is ${typeof result.destinationKey === "string" ? html`at <span class="id">${recordKeyOf(result.destinationKey)}</span>` : "beside the plaintext"}: ${show}</p>`
}

function unknownOf({ state, attempts }: ArchiveJob): Content[] {
  return [
    html`What is in the stores: the console has no credentials for them. <code>unseal archives show</code> looks there, and asks the vendor.`,
    attempts > 1 &&
      "When its earlier attempts began, and why they failed: the workers' logs have a line for each.",
    state === "completed" && "Anything from an hour after its commit on: the queue forgets it then.",
    "The password: it stays in Redis, encrypted, and is never shown.",
  ].filter((text) => text !== false)
}
