/**
 * The archives of earlier years: many that no callback announced here, and a table with their passwords. A backfill decrypts them,
 * and those whose callbacks arrive meanwhile go before them.
 */
import { writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { PROJECT_ID, type System } from "@unseal/test/harness/system"
import { commandsFor } from "./journey.ts"
import { heading, step } from "./screen.ts"

const MB = 1_000_000
/** Of an archive of earlier years. Small, so that hundreds take seconds. */
const OLD_BYTES = 300_000
const LIVE = { size: 2 * MB, count: 8 }
/** How many of the old ones wait in the queue before the live ones come. */
const WAITING = 50
const PATIENCE_MS = 120_000

export interface Backfilled {
  /** How many archives it has added. */
  readonly archives: number
  /** Those of earlier years. */
  readonly old: ReadonlySet<string>
}

/**
 * Records `count` archives without callbacks, backfills them, and has others recorded meanwhile. `decrypted` waits until so many
 * archives are; `order` has their ids as they were decrypted. Throws unless the live ones were done first, and the report is
 * complete.
 */
export async function backfill(
  system: System,
  count: number,
  decrypted: (count: number) => Promise<void>,
  order: () => readonly string[],
): Promise<Backfilled> {
  const unseal = commandsFor(system)
  const before = (await system.archives()).length
  const known = new Set((await system.archives()).map(({ id }) => id))

  heading(`${count} archives of earlier years, whose callbacks nobody took`)
  await loseCallbacks(system, 1)
  await system.record({ size: OLD_BYTES, count })
  const old = await recorded(system, before + count, known)
  await loseCallbacks(system, 0)
  const table = join(dirname(dirname(system.keyFile)), "archives.csv")
  await writeFile(table, await tableOf(system, old), { mode: 0o600 })
  step("table", "archives.csv: archiveId,projectId,password of each, as a database would give it")

  heading("A backfill decrypts them, behind the archives whose callbacks arrive meanwhile")
  await unseal("backfill", "plan", table)
  await unseal("queue", "pause")
  await unseal("backfill", "start", table)
  await until(async () => (await waiting(unseal)) >= Math.min(WAITING, count))
  step("queue", `paused for a moment, until ${LIVE.count} callbacks have come in behind the old archives`)
  for (const id of old) known.add(id)
  await system.record(LIVE)
  const live = new Set(await recorded(system, before + count + LIVE.count, known))
  await unseal("queue", "resume")
  await decrypted(before + count + LIVE.count)

  const done = order().filter((id) => live.has(id) || known.has(id))
  const last = Math.max(...[...live].map((id) => done.indexOf(id)))
  const ahead = done.slice(0, last).filter((id) => !live.has(id)).length
  if (ahead >= count) throw new Error(`the live archives were not done before the ${count} old ones`)
  step(
    "order",
    `when the last live one was done, ${count - ahead} of the ${count} old ones were still to come`,
  )
  await report(unseal, count)
  return { archives: count + LIVE.count, old: new Set(old) }
}

type Unseal = ReturnType<typeof commandsFor>

const waiting = async (unseal: Unseal): Promise<number> =>
  Number(JSON.parse(await unseal.quietly("queue", "status", "--json")).jobs.waiting)

/** Shows the report once every segment is settled. */
async function report(unseal: Unseal, count: number): Promise<void> {
  const [only] = JSON.parse(await unseal.quietly("backfill", "list", "--json"))
  await until(
    async () => JSON.parse(await unseal.quietly("backfill", "status", only.id, "--json")).endedAt !== null,
  )
  await unseal("backfill", "status", only.id)
  const rows = (await unseal.quietly("backfill", "report", only.id)).trim().split("\n")
  const committed = rows.filter((row) => row.includes(",committed,")).length
  step("report", `${rows.length - 1} rows, ${committed} committed; it begins:`)
  for (const row of rows.slice(0, 4)) process.stdout.write(`    ${row}\n`)
  if (rows.length !== count + 1 || committed !== count)
    throw new Error("the report does not add up to the table")
}

async function loseCallbacks(system: System, every: number): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${system.simulator.ports.control}/bad-day`, {
    method: "PATCH",
    headers: { "content-type": "application/json", connection: "close" },
    body: JSON.stringify({ loseCallbacksEvery: every }),
    signal: AbortSignal.timeout(PATIENCE_MS),
  })
  if (!response.ok) throw new Error(`the simulator answered ${response.status} to a bad day`)
}

/** The new archives, once there are `total`, all uploaded and with all callbacks sent or lost. */
async function recorded(system: System, total: number, known: ReadonlySet<string>): Promise<string[]> {
  let found: string[] = []
  await until(async () => {
    const archives = (await system.archives()).filter(({ status }) => status === "uploaded")
    found = archives.map(({ id }) => id).filter((id) => !known.has(id))
    return archives.length >= total && archives.every(({ callbacks }) => callbacks.some(hasEnded))
  })
  return found
}

const hasEnded = ({ status, outcome }: { status: string; outcome: string }) =>
  status === "uploaded" && ["accepted", "lost"].includes(outcome)

async function tableOf(system: System, ids: readonly string[]): Promise<string> {
  const rows = ["archiveId,projectId,password"]
  for (const id of ids) {
    const { recording } = await system.archive(id)
    rows.push(`${id},${PROJECT_ID},${recording.encryptedPassword}`)
  }
  return `${rows.join("\n")}\n`
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; await sleep(300))
    if (await isSo()) return
  throw new Error(`the backfill stands still: nothing has changed for ${PATIENCE_MS / 1_000} s`)
}
