/** The commands of `unseal backfill`, except `plan`. */
import { once } from "node:events"
import { counted } from "@unseal/archive/counted"
import type { Order } from "@unseal/operations/backfill/home/orders"
import { REPORT_HEADER, reportRow } from "@unseal/operations/backfill/home/outcomes"
import {
  type BackfillPlace,
  type BackfillStatus,
  findBackfill,
  listBackfills,
  order,
  readStatus,
} from "@unseal/operations/backfill/places"
import { readReport } from "@unseal/operations/backfill/report"
import { type GivenLine, startBackfill } from "@unseal/operations/backfill/start"
import { env, readVendorSettings } from "../config.ts"
import { EXIT, explain } from "../terminal/exit.ts"
import { type CommandAccess, withBackfills } from "./access.ts"
import { readManifestLines } from "./manifest-lines.ts"
import { describePace, type PaceOptions, paceOf } from "./options.ts"
import { describeStatus, linesOf, settledOf, stateOf } from "./text.ts"
import { listedTime, readVendorManifest, type VendorManifestOptions } from "./vendor-manifest.ts"

interface Json {
  readonly json?: true
}

export interface StartCommandOptions extends Json, PaceOptions, VendorManifestOptions {
  readonly project?: string
  readonly home?: string
  readonly again?: true
  readonly restore?: "bulk" | "standard"
  readonly restoreMost: number
}

/** `unseal backfill start FILE…`. */
export async function startCommand(
  paths: readonly string[],
  options: StartCommandOptions,
  signal: AbortSignal,
): Promise<void> {
  const pace = paceOf(options)
  const projectId = (options.project ?? env.UNSEAL_PROJECT_ID)?.toLowerCase() || undefined
  const time = listedTime(paths, options)
  const linesOfManifest = (): AsyncIterable<GivenLine> =>
    time === null
      ? readManifestLines(paths, projectId, signal)
      : readVendorManifest(
          readVendorSettings({}).projects,
          options.project?.toLowerCase(),
          time,
          (_, error) => {
            // Half a list would be a backfill of its own.
            throw error
          },
          signal,
        )
  await withBackfills(async (access) => {
    const started = await startBackfill(
      access,
      linesOfManifest(),
      {
        ...{ home: options.home?.toLowerCase(), again: options.again === true },
        ...(pace && { pace }),
        ...(options.restore && { restore: { tier: options.restore, most: options.restoreMost } }),
        onProgress: (lines) => void (process.stderr.isTTY && process.stderr.write(`\r\x1b[K${lines} lines`)),
      },
      signal,
    )
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K")
    const { outcome, id, home, manifest } = started
    const { archives, refused, ignored, projects } = manifest
    if (options.json)
      return void process.stdout.write(
        `${JSON.stringify({ outcome, id, home, archives, refused, ignored })}\n`,
      )
    process.stdout.write(`${outcome} ${id}\n`)
    const facts = `${counted(archives, "archive")} of ${counted(Object.keys(projects).length, "project")}; ${counted(refused, "line")} refused, ${ignored} ignored`
    const next =
      outcome === "started"
        ? `"unseal backfill status ${id}" tells how far it is`
        : outcome === "running"
          ? `it was started ${manifest.startedAt} and goes on; its options stay: "unseal backfill set ${id}" changes them`
          : `it was started ${manifest.startedAt} and has ended: "unseal backfill report ${id}" tells how; --again starts it anew`
    process.stderr.write(`${facts}\n${next}\n`)
  }, signal)
}

/** `unseal backfill status [ID]`: one, or all that are under way. */
export async function statusCommand(
  id: string | undefined,
  options: Json,
  signal: AbortSignal,
): Promise<void> {
  await withBackfills(async (access) => {
    const places = id === undefined ? await all(access, signal) : [await findBackfill(access, id, signal)]
    const statuses: BackfillStatus[] = []
    for (const place of places) {
      const status = await readStatus(access, place, signal)
      if (id !== undefined || status.endedAt === null) statuses.push(status)
    }
    if (options.json) process.stdout.write(`${JSON.stringify(id === undefined ? statuses : statuses[0])}\n`)
    else process.stdout.write(statuses.map(describeStatus).join("\n"))
    if (statuses.length === 0)
      process.stderr.write(`no backfill is under way; "unseal backfill list" shows those that have ended\n`)
  }, signal)
}

/** `unseal backfill list`: all backfills of all homes. */
export async function listCommand(options: Json, signal: AbortSignal): Promise<void> {
  await withBackfills(async (access) => {
    const statuses: BackfillStatus[] = []
    for (const place of await all(access, signal)) statuses.push(await readStatus(access, place, signal))
    statuses.sort((a, b) => (a.manifest.startedAt < b.manifest.startedAt ? 1 : -1))
    if (options.json) return void process.stdout.write(`${JSON.stringify(statuses)}\n`)
    for (const status of statuses) {
      const { id, manifest, outcomes } = status
      const done = `${settledOf(outcomes)} of ${linesOf(status)}`
      process.stdout.write(
        `${id.padEnd(18)} ${manifest.startedAt}  ${done.padStart(20)}  ${stateOf(status)}\n`,
      )
    }
    process.stderr.write(`${counted(statuses.length, "backfill")}\n`)
  }, signal)
}

/** The backfills of all homes. Reports the trouble of a home. */
async function all(access: CommandAccess, signal: AbortSignal): Promise<BackfillPlace[]> {
  const places: BackfillPlace[] = []
  for await (const one of listBackfills(access, signal))
    if ("id" in one) places.push(one)
    else process.exitCode = explain(one.error)
  return places
}

/** `unseal backfill pause|resume|cancel ID`. */
export async function orderCommand(
  command: "pause" | "resume" | "cancel",
  id: string,
  options: Json,
  signal: AbortSignal,
): Promise<void> {
  await give(
    id,
    { command },
    options,
    signal,
    {
      pause: `paused ${id}: jobs in the queue still finish`,
      resume: `resumed ${id}`,
      cancel: `cancelled ${id}: jobs in the queue still finish`,
    }[command],
  )
}

/** `unseal backfill set ID`: another pace. */
export async function setCommand(
  id: string,
  options: Json & PaceOptions,
  signal: AbortSignal,
): Promise<void> {
  await withBackfills(async (access) => {
    const place = await findBackfill(access, id, signal)
    const { standing } = await readStatus(access, place, signal)
    const pace = paceOf(options, standing.pace)
    if (pace !== undefined) await order(access, place, { command: "set", pace }, signal)
    const now = pace ?? standing.pace
    process.stdout.write(
      options.json ? `${JSON.stringify({ id, pace: now })}\n` : `${id}: ${describePace(now)}\n`,
    )
  }, signal)
}

async function give(
  id: string,
  what: Omit<Order, "at">,
  { json }: Json,
  signal: AbortSignal,
  said: string,
): Promise<void> {
  await withBackfills(async (access) => {
    await order(access, await findBackfill(access, id, signal), what, signal)
    process.stdout.write(json ? `${JSON.stringify({ id, ...what })}\n` : `${said}\n`)
  }, signal)
}

/** `unseal backfill report ID`: CSV, or a JSON line for each line of the manifest. Fails if something is not done. */
export async function reportCommand(
  id: string,
  options: Json & { readonly unfinished?: true },
  signal: AbortSignal,
): Promise<void> {
  await withBackfills(async (access) => {
    const place = await findBackfill(access, id, signal)
    const { manifest } = await readStatus(access, place, signal)
    if (!options.json) await write(REPORT_HEADER, signal)
    let rows = 0
    let undone = 0
    for await (const row of readReport(access, place, manifest, signal)) {
      rows++
      const isDone = row.outcome === "committed" || row.outcome === "done"
      undone += Number(!isDone)
      if (options.unfinished && isDone) continue
      await write(options.json ? `${JSON.stringify(row)}\n` : reportRow(row), signal)
    }
    process.stderr.write(
      `${counted(rows, "line")}: ${rows - undone} done, ${undone} not; ${manifest.ignored} others were ignored\n`,
    )
    if (undone > 0) process.exitCode = EXIT.failed
  }, signal)
}

/** A report may be larger than memory. */
async function write(text: string, signal: AbortSignal): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, "drain", { signal })
}
