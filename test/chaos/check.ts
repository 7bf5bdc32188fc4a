/** Checks the fault matrix's invariants at the end, from what was seen and what is left. */
import { setTimeout as sleep } from "node:timers/promises"
import { readSmallObject } from "@unseal/archive/store/small-object"
import { readAccounts } from "@unseal/queue/accounting"
import { codeOf } from "@unseal/queue/run/ending"
import { DESTINATION_NAME } from "@unseal/test/harness/stores"
import { PARTS_IN_FLIGHT, QUEUE, SECOND_PROJECT } from "./settings.ts"
import { recordKeyOf, type Tracked } from "./world/archives.ts"
import { acceptedJobs, type JobState, readJobs } from "./world/jobs.ts"
import { callersOf, type Member, type Usage, usageOf } from "./world/members.ts"
import { sha256 } from "./world/recordings.ts"
import type { World } from "./world/world.ts"

/** A violation of I1 to I8 of README.md, of a row's own demand, or of what its alerts must do. */
export interface Violation {
  readonly invariant: "I1" | "I2" | "I3" | "I4" | "I5" | "I6" | "I7" | "I8" | "row" | "alerts"
  readonly what: string
}

export interface CheckOptions {
  /** How many processes were killed at work, as the bound on wasted work. Absent if parts are sent again for other reasons. */
  readonly kills?: number
  /**
   * Redis was made to lose acknowledged jobs. I1 is then checked against the stores, whatever Redis knows about a job: every
   * acknowledged archive has its output and its record. Of I8, only the identity is checked, not the number of accepted jobs.
   */
  readonly redisForgot?: boolean
  /** Redis has applied half of a transaction. Its counters prove nothing, so I8 is not checked. */
  readonly redisTorn?: boolean
}

/** Checks every invariant except I7, which is observed by whoever waits for the end. */
export async function check(world: World, options: CheckOptions = {}): Promise<Violation[]> {
  await world.versions.settled()
  const jobs = await readJobs(world)
  return [
    ...(await checkEndings(world, jobs, options)),
    ...checkContents(world),
    ...(await checkLeftovers(world)),
    ...(options.kills === undefined ? [] : checkWaste(world, options.kills)),
    ...checkLogs(world),
    ...(options.redisTorn ? [] : await checkAccounts(world, jobs, options)),
  ]
}

/**
 * I1: every callback answered 2xx led to a correct output, or to a dead letter of its own password. I2: so is everything
 * visible.
 */
async function checkEndings(
  world: World,
  jobs: readonly JobState[],
  { redisForgot = false }: CheckOptions,
): Promise<Violation[]> {
  const violations: Violation[] = []
  const byId = new Map(jobs.map((job) => [job.jobId, job]))
  for (const [jobId, answers] of acceptedJobs(world)) {
    const job = byId.get(jobId)!
    for (const archive of new Set(answers.map((answer) => answer.archive))) {
      const { expected, destinationKey } = archive
      if (expected === "queued") {
        if (job.state !== "live")
          violations.push({
            invariant: "I1",
            what: `${jobId} was accepted and is ${job.state}, not in the queue`,
          })
        continue
      }
      const visible = await visibleContent(world, archive)
      if ("output" in expected) {
        if (visible !== null && !expected.output.has(visible))
          violations.push({ invariant: "I2", what: `${destinationKey} is not the archive's plaintext` })
        else if (visible === null && (redisForgot || !isDeadLetterOf(job, archive)))
          violations.push({
            invariant: "I1",
            what: `${archive.archiveId} was accepted as ${jobId} and has neither output nor dead letter (job ${job.state})`,
          })
        else if (job.state === "failed" && visible === null)
          violations.push({
            invariant: "row",
            what: `${archive.archiveId} is a dead letter: ${job.failedReason}`,
          })
        if (visible !== null && expected.output.has(visible))
          violations.push(...(await checkRecord(world, archive, visible)))
      } else {
        const code = codeOf(job.failedReason)
        if (job.state !== "failed" || code !== expected.deadLetter)
          violations.push({
            invariant: "I1",
            what: `${archive.archiveId} is ${job.state} ${job.failedReason}, not a dead letter for ${expected.deadLetter}`,
          })
        if (visible !== null)
          violations.push({ invariant: "I2", what: `${destinationKey} is visible, of a dead letter` })
      }
    }
  }
  return violations
}

const isDeadLetterOf = (job: JobState, archive: Tracked): boolean =>
  job.state === "failed" && job.encryptedPassword === archive.encryptedPassword

/** SHA-256 of the current content, or `null`. */
async function visibleContent(world: World, archive: Tracked): Promise<string | null> {
  const { destinationKey: key } = archive
  const signal = AbortSignal.timeout(10_000)
  const store = destinationOf(world, archive)
  const object = await store.stat(key, signal)
  if (object === null) return null
  if (store !== world.destination) return sha256(await readSmallObject(store, object, 2 ** 30, signal))
  return (
    world.versions.of(key).find(({ etag }) => etag === object.etag)?.sha256 ?? "a version that nobody saw"
  )
}

const destinationOf = (world: World, { projectId }: Tracked) =>
  (projectId === SECOND_PROJECT && world.secondDestination) || world.destination

const MAX_RECORD_BYTES = 65_536

async function checkRecord(world: World, archive: Tracked, visible: string): Promise<Violation[]> {
  const key = recordKeyOf(archive)
  const signal = AbortSignal.timeout(10_000)
  const store = destinationOf(world, archive)
  const object = await store.stat(key, signal)
  if (object === null) return [{ invariant: "I1", what: `${key} is missing beside its archive` }]
  const bytes = await readSmallObject(store, object, MAX_RECORD_BYTES, signal)
  const record = JSON.parse(Buffer.from(bytes).toString()) as { sha256?: { plaintext?: string } }
  const digest = record.sha256?.plaintext
  return digest === undefined || digest === visible
    ? []
    : [{ invariant: "I2", what: `${key} has the digest ${digest} of an archive of ${visible}` }]
}

/** Checks I2 and I3 on all versions that were ever visible, not only on the last. */
function checkContents(world: World): Violation[] {
  const violations: Violation[] = []
  const archives = new Map(world.answers.map(({ archive }) => [archive.destinationKey, archive]))
  for (const key of world.versions.keys) {
    const contents = new Set(world.versions.of(key).map(({ sha256 }) => sha256))
    const writes = world.versions.writes(key)
    if (contents.size > 1 || (key.endsWith(".ts") && writes > 1))
      violations.push({
        invariant: "I3",
        what: `${key} was made visible ${writes} times, with ${contents.size} contents`,
      })
    const expected = archives.get(key)?.expected
    for (const content of contents)
      if (typeof expected === "object" && "output" in expected && !expected.output.has(content))
        violations.push({
          invariant: "I2",
          what: `${key} was visible with a content that is not the archive's`,
        })
  }
  return violations
}

/**
 * How much more a process may hold at rest than right after its start. By design it keeps sockets to the store for later
 * requests, and memory for later parts. Growth beyond these limits is a leak. Sockets of callers don't count.
 */
const MOST_MORE = { descriptors: 80, residentMb: 350 }
/** Clients close idle connections after a few seconds. */
const REST_MS = 15_000

/** I4: no open uploads, and every live process holds about as many descriptors and as much memory as at its start. */
async function checkLeftovers(world: World): Promise<Violation[]> {
  const violations: Violation[] = openUploads(world).map((upload) => ({
    invariant: "I4",
    what: `upload of ${upload.key} with ${upload.parts} parts is open`,
  }))
  for (const member of [...world.workers, ...world.ingests]) {
    const deadline = Date.now() + REST_MS
    let more = moreThanAtStart(member)
    while (more.descriptors > MOST_MORE.descriptors && Date.now() < deadline) {
      await sleep(200)
      more = moreThanAtStart(member)
    }
    if (more.descriptors > MOST_MORE.descriptors || more.residentMb > MOST_MORE.residentMb)
      violations.push({
        invariant: "I4",
        what: `${member.name} has ${more.descriptors} descriptors and ${more.residentMb} MB more than at its start`,
      })
  }
  return violations
}

function moreThanAtStart({ pid, ports, baseline }: Member): Usage {
  const { descriptors, residentMb } = usageOf(pid)
  return {
    descriptors: descriptors - baseline.descriptors - (ports.http === undefined ? 0 : callersOf(ports.http)),
    residentMb: residentMb - baseline.residentMb,
  }
}

/** Uploads to the destination that were neither completed nor aborted. */
export const openUploads = (world: World) =>
  world.s3.openUploads().filter(({ bucket }) => bucket === DESTINATION_NAME)

/** How many part uploads there were beyond those that make the archives. */
export function wastedParts(world: World): number {
  const sent = partUploads(world)
  const needed = new Set(sent.map(({ key, partNumber }) => `${key} ${partNumber}`))
  return sent.length - needed.size
}

/** I5. */
function checkWaste(world: World, kills: number): Violation[] {
  const wasted = wastedParts(world)
  const bound = kills * PARTS_IN_FLIGHT
  return wasted <= bound
    ? []
    : [{ invariant: "I5", what: `${wasted} parts were sent again after ${kills} kills, more than ${bound}` }]
}

/** Part uploads of workers, for archives of several parts, in the order of their end. */
export function partUploads(world: World) {
  return world.history.entries.flatMap((entry) =>
    entry.kind === "store" &&
    entry.operation.operation === "UploadPart" &&
    entry.operation.bucket === DESTINATION_NAME
      ? [entry.operation]
      : [],
  )
}

/** I6 for logs: encrypted passwords, content keys in three forms, the private key, the secrets of callbacks and stores. */
function checkLogs(world: World): Violation[] {
  const secrets = [...world.secrets]
  for (const { archive } of world.answers.slice(0, 200)) {
    try {
      const { key, iv } = world.studio.secretsOf(archive.encryptedPassword)
      for (const bytes of [key, iv]) secrets.push(bytes.toString("hex"), bytes.toString("base64"))
    } catch {
      // Some passwords here are not the studio's.
    }
  }
  const violations: Violation[] = []
  for (const member of world.members) {
    if (member.log === undefined) continue
    const text = `${member.log.map((line) => JSON.stringify(line)).join("\n")}\n${member.stderr()}`
    // JSON writes slashes and pluses unescaped.
    const leaked = secrets.filter((secret) => text.includes(secret)).length
    if (leaked > 0)
      violations.push({ invariant: "I6", what: `the log of ${member.name} holds ${leaked} secrets` })
  }
  return violations
}

/** I8: accepted = committed + dead-lettered + live + discarded, from the callbacks' answers and from the queue's own accounts. */
async function checkAccounts(
  world: World,
  jobs: readonly JobState[],
  { redisForgot = false }: CheckOptions,
): Promise<Violation[]> {
  const accounts = await readAccounts(world.client, QUEUE)
  const balanced = accounts.missing === 0 && (redisForgot || accounts.accepted === jobs.length)
  const violations: Violation[] = balanced
    ? []
    : [
        {
          invariant: "I8",
          what: `${jobs.length} jobs were acknowledged, the queue's accounts say ${JSON.stringify(accounts)}`,
        },
      ]
  if (redisForgot) return violations
  for (const { jobId, state } of jobs)
    if (state === "missing")
      violations.push({ invariant: "I8", what: `job ${jobId} was acknowledged and is nowhere` })
  return violations
}
