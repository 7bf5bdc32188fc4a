/** The output of `unseal archives show` for people. */

import { counted } from "@unseal/archive/counted"
import type { ArchiveJob } from "@unseal/queue/jobs/archive-jobs"
import { bytes } from "../terminal/progress.ts"
import type { ShownArchive } from "./next.ts"
import type { Looked, ShownDestination, ShownObject, ShownSource } from "./places.ts"

const INDENT = " ".repeat(15)
const row = (name: string, ...lines: string[]): string =>
  lines.map((line, index) => `${index === 0 ? name.padEnd(15) : INDENT}${line}\n`).join("")
const size = (count: number): string =>
  count < 1_000 ? counted(count, "byte") : `${count} bytes (${bytes(count)})`
const described = ({ store, key, size: count, etag }: ShownObject): string =>
  `${store}/${key}, ${size(count)}, ETag ${etag}`

/** The rows of one project; `next` is the last of them. */
export function archiveText(archive: ShownArchive, next: string): string {
  return [
    row("project", archive.projectId),
    jobRows(archive.jobs),
    lookedRow("source", archive.source, sourceLines),
    lookedRow("destination", archive.destination, destinationLines),
    lookedRow("open uploads", archive.uploads, (uploads) =>
      uploads.length === 0
        ? ["none"]
        : uploads.map(({ key, startedAt, token }) => `${key}, begun ${startedAt}${ownerOf(archive, token)}`),
    ),
    lookedRow("vendor", archive.vendor, (told) =>
      told === null
        ? ["knows no such archive of this project"]
        : [
            `${told.status}${told.size === undefined ? "" : `, ${size(told.size)}`}${told.createdAt === undefined ? "" : `, recorded ${new Date(told.createdAt).toISOString()}`}${told.encrypted ? "" : ", not encrypted"}`,
          ],
    ),
    row("next", next),
  ].join("")
}

function lookedRow<T>(name: string, looked: Looked<T>, lines: (found: T) => string[]): string {
  return "found" in looked
    ? row(name, ...lines(looked.found))
    : row(name, `not looked at: ${looked.notLooked}`)
}

function jobRows(jobs: Looked<readonly ArchiveJob[]>): string {
  if ("notLooked" in jobs) return row("queue", `not looked at: ${jobs.notLooked}`)
  if (jobs.found.length === 0) return row("queue", "no job of it")
  return jobs.found.map((job) => row("queue", ...jobLines(job))).join("")
}

function jobLines(job: ArchiveJob): string[] {
  const { upload, failure, missingSince, archivedSince, lostWorkers } = job
  return [
    stateLine(job),
    `job ${job.jobId}, added ${job.addedAt}, ${counted(job.attempts, "attempt")} so far${job.lane === "bulk" ? ", in the bulk lane" : ""}`,
    ...(failure === null ? [] : [job.state === "dead" ? failure.reason : `last failure: ${failure.reason}`]),
    ...(missingSince === undefined ? [] : [`its object has been missing since ${missingSince}`]),
    ...(archivedSince === undefined
      ? []
      : [`its object has been in an archival class since ${archivedSince}`]),
    ...(upload === undefined
      ? []
      : [
          `${upload.partsWritten} of ${counted(upload.parts, "part")} written, ${bytes(upload.bytesWritten)} of ${bytes(upload.bytes)}`,
        ]),
    ...(lostWorkers === 0 ? [] : [`${counted(lostWorkers, "worker")} ended with it in hand`]),
    ...(job.damaged ? ["its payload is lost or not readable"] : []),
  ]
}

function stateLine(job: ArchiveJob): string {
  const { state, since, until, ahead, worker, suspension } = job
  switch (state) {
    case "running":
      return `running since ${since}${worker ? ` on ${worker}` : ""}${job.isLocked ? "" : ", which no longer renews its lock"}`
    case "waiting":
      return `waiting since ${since}, ${ahead === undefined ? "on its way back in line" : ahead === 0 ? "next in line" : `${ahead} before it`}`
    case "delayed":
      return `delayed until ${until}`
    case "held":
      return `held since ${since}: project ${job.projectId} is suspended on its ${suspension?.side} since ${suspension?.since}, ${suspension?.reason}${suspension?.isProbe ? `; it is the probe, tried at ${until}` : `; a dead letter at ${until}`}`
    case "dead":
      return `dead letter since ${since}`
    case "completed":
      return `completed ${since}`
    case "orphaned":
      return "in no line: Redis has lost its place"
  }
}

function sourceLines({ store, keys, object, blind }: ShownSource): string[] {
  if (object !== null) return [described(object)]
  return [`not there: ${keys.map((key) => `${store}/${key}`).join(", nor ")}`, ...(blind ? [blind] : [])]
}

function destinationLines(destination: ShownDestination): string[] {
  const { store, key, object, record, blind } = destination
  if (object === null)
    return [
      `not there: ${store}/${key}`,
      ...(blind ? [blind] : []),
      ...(record === null
        ? []
        : [`its record is there, for an object that was committed ${record.finishedAt}`]),
    ]
  if (record === null)
    return [described(object), destination.isMarked ? "no record" : "no record, and no marks of this archive"]
  const { sha256, tail, media, announced } = record
  return [
    described(object),
    destination.isRecordOfObject
      ? `committed ${record.finishedAt}, attempt ${record.attempts}, of ${size(record.source.size)} with ETag ${record.source.etag}`
      : `its record is of another version, committed ${record.finishedAt} with ETag ${record.destination.etag}`,
    ...(sha256 ? [`SHA-256 ${sha256.plaintext}`] : []),
    `CRC-32 ${record.crc32}, tail ${tail.form}, ${counted(media.packets, "packet")}${record.keyId ? `, key ${record.keyId}` : ""}`,
    ...(media.syncErrors > 0
      ? [`warning: ${media.syncErrors} of ${counted(media.packets, "packet")} without a sync byte`]
      : []),
    ...(announced?.fits === false
      ? [
          `warning: the callback announced ${size(announced.size)}, and the source has ${size(record.source.size)}`,
        ]
      : []),
    ...(sha256?.announced === "neither"
      ? ["warning: the announced sha256sum fits neither ciphertext nor plaintext"]
      : []),
  ]
}

/** A listing's token may be a prefix of the job's. */
function ownerOf({ jobs }: ShownArchive, token: string): string {
  if ("notLooked" in jobs) return ""
  const owner = jobs.found.find(({ upload }) => upload?.token.startsWith(token))
  return owner ? ", which its job continues" : ", of no job: the janitor aborts it"
}
