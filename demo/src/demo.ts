/** `npm run demo`: the whole system on one machine, on real input, compared with the openssl command. */
import { setTimeout as sleep } from "node:timers/promises"
import { inspect } from "node:util"
import { counted } from "@unseal/archive/counted"
import { DEFAULT_PART_SIZE_BYTES } from "@unseal/archive/store/options"
import type { LogLine } from "@unseal/test/harness/process"
import { type RecordWish, type System, startSystem } from "@unseal/test/harness/system"
import { type Backfilled, backfill } from "./backfill.ts"
import { compareWithOpenssl } from "./compare.ts"
import { runEveryQuirk } from "./every-quirk.ts"
import { atHalf } from "./halfway.ts"
import { API_SECRET, type KeyPair, travel } from "./journey.ts"
import { type DemoOptions, readOptions } from "./options.ts"
import { lookForPublished, wronglyPublished } from "./published.ts"
import { leavesOf, parametersOf, sentenceOf } from "./quirk-ends.ts"
import { bold, green, heading, progress, red, redraw, step, table } from "./screen.ts"
import { createStandstill } from "./standstill.ts"
import { whereToLook } from "./where-to-look.ts"

const MB = 1_000_000
/** Large, small and awkward archives, repeated as needed. Among the first three, one is empty and one has several parts. */
const WISHES: readonly RecordWish[] = [
  { size: 5 * MB, tail: "zero" },
  { size: 0 },
  { size: 20 * MB },
  { size: 16, exact: true },
  { size: 752, exact: true, tail: "none" },
  { size: 128_000, tail: "zero", duplicates: 2 },
  { size: 1 * MB },
  { size: 2 * MB, statuses: ["started", "uploaded", "stopped"] },
  { size: DEFAULT_PART_SIZE_BYTES, exact: true, tail: "none" },
  { size: DEFAULT_PART_SIZE_BYTES + 16, exact: true, tail: "none", duplicates: 5 },
  { size: 40 * MB },
  { size: 80 * MB },
]
/** For a store with a quirk: an archive of one part, and one of several. */
const QUIRK_WISHES: readonly RecordWish[] = [{ size: 128_000, tail: "zero" }, { size: 20 * MB }]
/** Longer than any archive of the demo takes, even if its worker is killed and the lock must expire first. */
const DEADLINE_MS = 180_000
/** As in the chaos tests: another worker takes over a killed worker's archive within seconds. */
const WORKER_SETTINGS = { UNSEAL_LOCK_MS: "5000", UNSEAL_STALL_CHECK_MS: "2000" }

/** The demo can't continue, and its processes have said why. */
class Stopped extends Error {}

interface Done {
  readonly worker: string
  readonly seconds: number
  readonly tail: string
}

/** The workers have logged the sentence that the quirk is expected to end in. */
class Said extends Error {}

const options = readOptions(process.argv)
if (options.quirk === "all") process.exit((await runEveryQuirk()) ? 0 : 1)
const { quirk } = options
const sentence = sentenceOf(quirk, options.plainUrls === true)
const done = new Map<string, Done>()
const standstill = createStandstill()
/** Called for every line, so that half-way is not noticed late. */
let progressed = (_done: number): void => {}
heading("Starting")
const system = await startSystem({
  store: options.store,
  redis: options.redis,
  policies: options.policies === true,
  ...(options.plainUrls ? {} : { storeParameters: parametersOf(quirk) }),
  workers: 2,
  workerEnv: WORKER_SETTINGS,
  simulatorEnv: {
    SIMULATOR_REST_PORT: "0",
    SIMULATOR_API_SECRET: API_SECRET,
    ...(quirk.length > 0 && { SIMULATOR_S3_QUIRKS: quirk.join(",") }),
  },
  onReady: step,
  onLine(name, line) {
    noteCommitted(name, line)
    standstill.note(line)
    progressed(done.size)
  },
})
const interrupted = new Promise<"interrupted">((resolve) =>
  process.once("SIGINT", () => resolve("interrupted")),
)

try {
  const outcome = await Promise.race([run(system, options), interrupted])
  if (outcome === "interrupted") process.exitCode = 130
  else if (!outcome) process.exitCode = 1
  if (options.keep && outcome !== "interrupted") {
    await showWhereToLook(system)
    process.stdout.write(`\n  All of this goes on running. ${bold("Ctrl-C")} ends it.\n`)
    await interrupted
  } else if (outcome === true)
    process.stdout.write("\n  To keep everything running and look around: npm run demo -- --keep\n")
} catch (error) {
  const message = error instanceof Stopped || error instanceof Said ? error.message : inspect(error)
  const isRight = error instanceof Said
  process.stdout.write(`\n\n${isRight ? message : red(message)}\n`)
  process.exitCode = isRight ? 0 : 1
} finally {
  await system.close()
}

function noteCommitted(worker: string, line: LogLine): void {
  if (line.msg !== "archive committed") return
  done.set(String(line.archiveId), { worker, seconds: Number(line.seconds), tail: String(line.tail) })
}

async function run(
  system: System,
  { archives: count, killWorker, store, journey, backfill: old }: DemoOptions,
): Promise<boolean> {
  heading(`Recording ${counted(count, "archive")}, each under a password of its own, and decrypting them`)
  if (killWorker) progressed = atHalf(count, (size) => killOne(system, size, count))
  progressed(done.size)
  const wanted = journey && old === undefined
  const wishes = quirk.length > 0 && !wanted ? QUIRK_WISHES : WISHES
  for (let index = 0; index < count; index++) await system.record(wishes[index % wishes.length]!)
  await decrypted(system, count)
  if (sentence) throw new Stopped(`all archives were decrypted, but no process has said ${sentence}`)
  // The vendor uploads only to S3 and Azure, and the Azure domain can't point at this machine.
  const travelled =
    store === "s3" && wanted ? await travel(system, (all) => decrypted(system, all)) : undefined
  const backfilled =
    old === undefined
      ? undefined
      : await backfill(
          system,
          old,
          (all) => decrypted(system, all),
          () => [...done.keys()],
        )
  const all = count + (travelled?.archives ?? 0) + (backfilled?.archives ?? 0)
  return compareAll(system, all, travelled?.keys ?? new Map(), backfilled)
}

/** Waits until `count` archives are decrypted, and shows the progress. */
async function decrypted(system: System, count: number): Promise<void> {
  for (const deadline = Date.now() + DEADLINE_MS; done.size < count; await sleep(200)) {
    if (Date.now() > deadline) throw stuck(system, count)
    const recorded = (await system.archives()).filter((archive) => archive.size !== null).length
    const state = `${recorded} of ${count} recorded, ${done.size} decrypted`
    progress(state)
    const said = sentence && recorded === count ? standstill.said(sentence) : null
    if (said !== null) throw await endedInSentence(system, count, said)
    const why = standstill.whyStill(state)
    if (why !== null)
      throw new Stopped(
        `${count - done.size} of ${count} archives are not decrypted, and nothing moves. The processes have said:\n${why}`,
      )
  }
}

/** Checks the expected sentence: the archives that it is about must not be at the destination. */
async function endedInSentence(system: System, count: number, said: string): Promise<Error> {
  for (const worker of system.workers) await worker.stop()
  const ended = `${count - done.size} of ${count} archives wait, as they must on such a store:\n${said}`
  // The printed policies let nobody list everything.
  if (options.policies) return new Said(ended)
  const published = await lookForPublished(system)
  const wrong = wronglyPublished(published, leavesOf(quirk))
  if (wrong !== null) return new Stopped(`${ended}\n  But: ${wrong}.`)
  const { whole, torn } = published
  const left = [whole && `${whole} whole`, torn && `${torn} torn by the store, without a record`].filter(
    Boolean,
  )
  return new Said(`${ended}\n  At the destination: ${left.join(", ") || "nothing"}.`)
}

function killOne(system: System, size: number, count: number): void {
  const [first, second] = system.workers
  first!.kill("SIGKILL")
  step(
    first!.name,
    `killed with SIGKILL after ${size} of ${count} archives: ${second!.name} takes over what it had`,
  )
}

async function compareAll(
  system: System,
  count: number,
  keys: ReadonlyMap<string, KeyPair>,
  backfilled?: Backfilled,
): Promise<boolean> {
  heading("Comparing each recording with what the openssl command gives")
  const rows: string[][] = []
  let bytes = 0
  let equal = 0
  let compared = 0
  for (const { id } of (await system.archives()).toReversed()) {
    const archive = await system.archive(id)
    const { expected, actual } = await compareWithOpenssl(system, archive, keys.get(id))
    const { worker, seconds, tail } = done.get(id)!
    bytes += archive.recording.size
    if (expected === actual) equal++
    redraw(`${++compared} of ${count} compared`)
    if (backfilled?.old.has(id) && expected === actual) continue
    rows.push([
      id,
      archive.recording.size.toLocaleString("en-US"),
      tail,
      worker,
      seconds.toFixed(2),
      actual.slice(0, 16),
      expected === actual ? green("equal") : red("DIFFERENT"),
    ])
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

async function showWhereToLook(system: System): Promise<void> {
  heading("Where to look")
  const archives = await system.archives()
  const largest = archives.filter(({ id }) => done.has(id)).toSorted((a, b) => b.size! - a.size!)[0]
  for (const [name, detail] of whereToLook(system, largest?.key, options.policies === true))
    step(name, detail)
}
