import { mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { startApp } from "../../harness/process.ts"
import type { Bench } from "../bench-context.ts"
import { SECRET } from "../callbacks.ts"
import { contest, timesAsFast, timesTheCpu } from "../contest.ts"
import { cpuSecondsOf } from "../measure.ts"
import { CREDENTIAL, sourceBucket } from "../peers.ts"
import { failuresOf, mebibytes, type Section, settingsOf, type Target } from "../report.ts"
import { type Spread, show, spreadOf } from "../statistics.ts"
import { storeUrl, workerContender } from "../unseal-contenders.ts"
import type { Chapter } from "./chapter.ts"

const COUNTS = [1, 100, 5_000] as const
type Count = (typeof COUNTS)[number]
const APPS = ["worker", "ingest"] as const
type App = (typeof APPS)[number]

const ARCHIVE_BYTES = 1024 * 1024
/** The most projects that get archives during a measurement. */
const MOST_ACTIVE = 100
const LIMIT = 1.2
const LIMIT_SECONDS = 1

interface ProjectsFile {
  readonly file: string
  /** The projects that get archives, spread over the file. */
  readonly active: readonly string[]
}

/** From the start of a process to its line `listening`. */
interface Start {
  readonly seconds: number
  readonly cpuSeconds: number
}
type Starts = Readonly<Record<App, Readonly<Record<Count, Start[]>>>>

export const projects: Chapter = {
  name: "projects",
  title: "One project and thousands",
  async run(bench) {
    const archives = bench.options.quick ? 300 : 3_000
    const files = new Map(COUNTS.map((count) => [count, writeProjects(bench, count)] as const))
    const open: Awaited<ReturnType<typeof workerContender>>[] = []
    try {
      for (const count of COUNTS)
        open.push(
          await workerContender(bench, String(count), {
            ...{ origin: bench.endpoint, archiveBytes: ARCHIVE_BYTES, archives, projects: files.get(count)! },
          }),
        )
      const standings = await contest(
        bench,
        ARCHIVE_BYTES,
        open.map(({ contender }) => contender),
      )
      const scrapes = await Promise.all(open.map(({ workers }) => scrapeBytes(workers.processes[0]!.ports)))
      for (const { workers } of open.splice(0)) await workers.close()
      return report(standings, scrapes, await measureStarts(bench, files), archives)
    } finally {
      for (const { workers } of open) await workers.close()
    }
  },
}

/** Each project has stores, a key directory and a secret of its own. */
function writeProjects({ directory, recording, endpoint }: Bench, count: Count): ProjectsFile {
  const base = join(directory, `projects-${count}`)
  mkdirSync(base)
  const ids = Array.from({ length: count }, (_, index) => String(100_000 + index))
  const entries = ids.map((id) => {
    mkdirSync(join(base, id))
    symlinkSync(recording.keyFile, join(base, id, "key.pem"))
    writeFileSync(join(base, `${id}.secret`), SECRET)
    return `  - id: "${id}"
    signatureSecretFile: ${id}.secret
    keys: ./${id}
    source: ${storeUrl(sourceBucket(ARCHIVE_BYTES), endpoint, `/${id}`)}
    destination: ${storeUrl("decrypted", endpoint, `/${id}`)}
`
  })
  const file = join(base, "projects.yaml")
  writeFileSync(file, `projects:\n${entries.join("")}`)
  const step = Math.max(1, Math.floor(count / MOST_ACTIVE))
  return { file, active: ids.filter((_, index) => index % step === 0) }
}

async function measureStarts(bench: Bench, files: ReadonlyMap<Count, ProjectsFile>): Promise<Starts> {
  const each = () => ({ 1: [], 100: [], 5000: [] }) as Record<Count, Start[]>
  const starts = { worker: each(), ingest: each() }
  // Round 0 warms the disk's cache.
  for (let round = 0; round <= bench.options.rounds; round++)
    for (const count of COUNTS)
      for (const app of APPS) {
        const start = await measureStart(bench, app, files.get(count)!.file)
        bench.say(
          `  round ${round}: ${app} with ${count} projects listens after ${start.seconds.toFixed(2)} s`,
        )
        if (round > 0) starts[app][count].push(start)
      }
  return starts
}

async function measureStart(bench: Bench, app: App, file: string): Promise<Start> {
  const env = {
    ...{ REDIS_URL: (await bench.redis()).url, UNSEAL_QUEUE: "bench-starts", UNSEAL_PROJECTS_FILE: file },
    ...{ UNSEAL_HOST: "127.0.0.1", UNSEAL_ADMIN_PORT: "0" },
    ...(app === "worker" ? CREDENTIAL : { UNSEAL_PORT: "0" }),
    ...bench.options.env,
  }
  const startedAt = performance.now()
  const process = await startApp(app, { env })
  const seconds = (performance.now() - startedAt) / 1_000
  const cpuSeconds = cpuSecondsOf(process.pid)
  await process.stop()
  return { seconds, cpuSeconds }
}

const scrapeBytes = async (ports: Readonly<Record<string, number>>): Promise<number> =>
  (await (await fetch(`http://127.0.0.1:${ports.admin}/metrics`)).text()).length

function report(
  standings: Awaited<ReturnType<typeof contest>>,
  scrapes: readonly number[],
  starts: Starts,
  archives: number,
): Section {
  const one = standings[0]!
  const more = (app: App, count: Count, of: keyof Start): Spread =>
    spreadOf(starts[app][count].map((start, round) => start[of] - starts[app][1][round]![of]))
  const comparable = standings.every(({ costs }) => costs.length > 0)
  const cpu = standings.map((standing) => (comparable ? timesTheCpu(standing, one) : undefined))
  const time = standings.map((standing) => (comparable ? timesAsFast(one, standing) : undefined))
  const times = (spread: Spread | undefined) => (spread ? `${show(spread, 2)}×` : "failed")
  const targets = COUNTS.slice(1).flatMap((count, index): Target[] => {
    const cost = cpu[index + 1]
    return [
      ...(cost
        ? [
            {
              claim: `${count} projects: ≤ ${LIMIT}× the CPU of an archive with one`,
              measured: times(cost),
              reached: cost.median <= LIMIT,
            },
          ]
        : []),
      ...APPS.map((app) => {
        const later = more(app, count, "seconds")
        return {
          claim: `${count} projects: ${app} starts within ${LIMIT_SECONDS} s of one with a single project`,
          measured: `${show(later, 2)} s`,
          reached: later.median <= LIMIT_SECONDS,
        }
      }),
    ]
  })
  return {
    conditions: `${archives} archives of ${mebibytes(ARCHIVE_BYTES)}, of up to ${MOST_ACTIVE} projects in turn, through one worker process; each project has stores, keys and a secret of its own, in one YAML file. Ratios are relative to one project. A start lasts from the launch of the process to its line \`listening\`; the table shows how much longer it takes than with one project, in time and in processor time. Neighbours don't change the latter.`,
    columns: [
      "projects",
      "CPU/archive",
      "time/archive",
      "worker's start, more s",
      "more CPU s",
      "ingest's start, more s",
      "more CPU s",
      "worker's scrape KiB",
    ],
    rows: COUNTS.map((count, index) => [
      String(count),
      times(cpu[index]),
      times(time[index]),
      ...APPS.flatMap((app) => [
        show(more(app, count, "seconds"), 2),
        show(more(app, count, "cpuSeconds"), 2),
      ]),
      (scrapes[index]! / 1_024).toFixed(0),
    ]),
    targets,
    settings: settingsOf(standings.slice(0, 1)).map(([, settings]) => ["worker", settings] as const),
    failures: failuresOf(standings),
  }
}
