/** `npm run demo`: the whole system on one machine, on real input, compared with the openssl command. */
import { setTimeout as sleep } from "node:timers/promises"
import { inspect } from "node:util"
import type { LogLine } from "@unseal/test/harness/process"
import { type RecordWish, type System, startSystem } from "@unseal/test/harness/system"
import { compareWithOpenssl } from "./compare.ts"
import { API_SECRET, type KeyPair, travel } from "./journey.ts"
import { type DemoOptions, readOptions } from "./options.ts"
import { bold, green, heading, progress, red, step, table } from "./screen.ts"
import { createStandstill } from "./standstill.ts"

const MB = 1_000_000
/** Small, awkward and large ones; a dozen, then over again. */
const WISHES: readonly RecordWish[] = [
  { size: 0 },
  { size: 16, exact: true },
  { size: 752, exact: true, tail: "none" },
  { size: 128_000, tail: "zero", duplicates: 2 },
  { size: 1 * MB },
  { size: 2 * MB, statuses: ["started", "uploaded", "stopped"] },
  { size: 5 * MB, tail: "zero" },
  { size: 8 * 1024 * 1024, exact: true, tail: "none" },
  { size: 8 * 1024 * 1024 + 16, exact: true, tail: "none", duplicates: 5 },
  { size: 20 * MB },
  { size: 40 * MB },
  { size: 80 * MB },
]
/** Longer than any archive of the demo takes, also when its worker was killed and its lock must run out first. */
const DEADLINE_MS = 180_000
/** As in the chaos tests: a killed worker's archive is taken up by the other one within seconds. */
const WORKER_SETTINGS = { UNSEAL_LOCK_MS: "5000", UNSEAL_STALL_CHECK_MS: "2000" }

/** The demo can't go on, and the processes have said why. */
class Stopped extends Error {}

interface Done {
  readonly worker: string
  readonly seconds: number
  readonly tail: string
}

const options = readOptions(process.argv)
const done = new Map<string, Done>()
const standstill = createStandstill()
heading("Starting")
const system = await startSystem({
  store: options.store,
  redis: options.redis,
  policies: options.policies === true,
  workers: 2,
  workerEnv: WORKER_SETTINGS,
  simulatorEnv: {
    SIMULATOR_REST_PORT: "0",
    SIMULATOR_API_SECRET: API_SECRET,
    ...(options.quirk.length > 0 && { SIMULATOR_S3_QUIRKS: options.quirk.join(",") }),
  },
  onReady: step,
  onLine(name, line) {
    noteCommitted(name, line)
    standstill.note(line)
  },
})
const interrupted = new Promise<"interrupted">((resolve) =>
  process.once("SIGINT", () => resolve("interrupted")),
)

try {
  const outcome = await Promise.race([run(system, options), interrupted])
  if (outcome === "interrupted") process.exitCode = 130
  else if (!outcome) process.exitCode = 1
  showWhereToLook(system)
  if (options.keep && outcome !== "interrupted") {
    process.stdout.write(`\n  Everything keeps running. ${bold("Ctrl-C")} ends it.\n`)
    await interrupted
  }
} catch (error) {
  process.stdout.write(`\n\n${red(error instanceof Stopped ? error.message : inspect(error))}\n`)
  process.exitCode = 1
} finally {
  await system.close()
}

function noteCommitted(worker: string, line: LogLine): void {
  if (line.msg !== "archive committed") return
  done.set(String(line.archiveId), { worker, seconds: Number(line.seconds), tail: String(line.tail) })
}

async function run(system: System, { archives: count, killWorker, store }: DemoOptions): Promise<boolean> {
  heading(`Recording ${count} archives, each in its own password, and decrypting them`)
  for (let index = 0; index < count; index++) await system.record(WISHES[index % WISHES.length]!)
  const kill = killWorker ? () => killHalfway(system, count) : () => {}
  await decrypted(system, count, kill)
  // The vendor uploads to S3 and Azure only, and Azure's domain can't be one of this machine.
  const journey = store === "s3" ? await travel(system, (all) => decrypted(system, all)) : undefined
  return compareAll(system, count + (journey?.archives ?? 0), journey?.keys ?? new Map())
}

/** Waits until `count` archives are decrypted, showing how far that is. */
async function decrypted(system: System, count: number, onProgress: () => void = () => {}): Promise<void> {
  for (const deadline = Date.now() + DEADLINE_MS; done.size < count; await sleep(200)) {
    if (Date.now() > deadline) throw stuck(system, count)
    const recorded = (await system.archives()).filter((archive) => archive.size !== null).length
    const state = `${recorded} of ${count} recorded, ${done.size} decrypted`
    progress(state)
    const why = standstill.whyStill(state)
    if (why !== null)
      throw new Stopped(`${count - done.size} of ${count} archives can't be decrypted:\n${why}`)
    onProgress()
  }
}

function killHalfway(system: System, count: number): void {
  const [first] = system.workers
  if (done.size < count / 2 || !first?.running()) return
  first.kill("SIGKILL")
  step("worker 1", "killed half-way, with SIGKILL: its archives go to worker 2")
}

async function compareAll(
  system: System,
  count: number,
  keys: ReadonlyMap<string, KeyPair>,
): Promise<boolean> {
  heading("Comparing each with an independent decryption by the openssl command")
  const rows: string[][] = []
  let bytes = 0
  let equal = 0
  for (const { id } of (await system.archives()).toReversed()) {
    const archive = await system.archive(id)
    const { expected, actual } = await compareWithOpenssl(system, archive, keys.get(id))
    const { worker, seconds, tail } = done.get(id)!
    bytes += archive.recording.size
    if (expected === actual) equal++
    rows.push([
      id,
      archive.recording.size.toLocaleString("en-US"),
      tail,
      worker,
      seconds.toFixed(2),
      actual.slice(0, 16),
      expected === actual ? green("equal") : red("DIFFERENT"),
    ])
    progress(`${rows.length} of ${count} compared`)
  }
  table(["archive", "bytes", "tail", "by", "seconds", "sha-256", "openssl"], rows, ["bytes", "seconds"])
  const summary = `${equal} of ${count} archives, ${(bytes / MB).toFixed(0)} MB, are byte for byte what openssl gives`
  process.stdout.write(`\n  ${equal === count ? green(bold(summary)) : red(bold(summary))}\n`)
  return equal === count
}

function stuck(system: System, count: number): Error {
  const lines = system.workers.flatMap((worker) => worker.log.slice(-5)).map((line) => JSON.stringify(line))
  const reason = `${count - done.size} of ${count} archives were not decrypted within ${DEADLINE_MS / 1000} s`
  return new Error([`${reason}; the workers' last lines:`, ...lines].join("\n"))
}

function showWhereToLook({ ingest, workers, simulator, env }: System): void {
  heading("Where to look")
  step("ingest", `http://127.0.0.1:${ingest.ports.http}/openapi.json`)
  step("", `http://127.0.0.1:${ingest.ports.admin}/metrics`)
  for (const [index, worker] of workers.entries())
    step(`worker ${index + 1}`, `http://127.0.0.1:${worker.ports.admin}/metrics`)
  step("simulator", `http://127.0.0.1:${simulator.ports.control}/archives`)
  step("queue", `REDIS_URL=${env.REDIS_URL} npx unseal queue status`)
}
