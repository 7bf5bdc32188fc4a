/** A real Prometheus beside a world, with the project's rules: which alerts fire, when, and whether they resolve. */
import { setTimeout as sleep } from "node:timers/promises"
import { queueKey } from "@unseal/queue/names"
import { rulesOf } from "@unseal/test/documents/rules"
import { runCli } from "@unseal/test/harness/process"
import { startPrometheus } from "@unseal/test/harness/prometheus"
import { allowedIn, type ExpectedAlerts } from "./alerts.ts"
import { QUEUE } from "./settings.ts"
import type { World } from "./world/world.ts"

/**
 * How much faster the rules' clock is: ranges, waits and limits in seconds are divided by it. The worlds' locks are as much
 * shorter than the default.
 */
export const FASTER = 20
/** As often as a PodMonitor of the manifests scrapes, on the rules' clock. */
const SCRAPE_MS = 2_000
const LOOK_MS = 500
/** The last fault's alert may still be pending when a row has its result. */
const PATIENCE_MS = 20_000
/** The longest range of an alert that must resolve is an hour. */
const RESOLVES_MS = (3_600_000 / FASTER) * 1.5

/** Alerts that look back over days, or stay until somebody starts what the row has not. */
const STAY = [
  ...["UnsealCallbackObjective", "UnsealArchiveObjective", "UnsealAccountsDrift"],
  ...["UnsealWorkersAbsent", "UnsealIngestAbsent", "UnsealOldestWait", "UnsealQueueUnobserved"],
]

export interface AlertWatch {
  /** Call it when the row is over, before its world is closed. Resolves to what was seen, and what is wrong with it. */
  end(): Promise<{ readonly measured: string; readonly failures: readonly string[] }>
  close(): Promise<void>
}

interface Sighting {
  /** When it first fired, by `Date.now`. */
  readonly at: number
  readonly summary: string
}

/** Watches the alerts of `world` from now on. */
export async function watchAlerts(world: World, expected: ExpectedAlerts): Promise<AlertWatch> {
  const prometheus = await startPrometheus(SCRAPE_MS, {
    rules: { groups: rulesOf(FASTER) },
    lookbackMs: 300_000 / FASTER,
  })
  const allowed = allowedIn(expected)
  const seen = new Map<string, Sighting>()
  let scraped = ""
  let stopped = false

  async function scrapeAll(): Promise<number> {
    const ports = [...world.workers, ...world.ingests].map((member) => member.ports.admin!)
    if (ports.join() !== scraped) await prometheus.scrape(ports)
    scraped = ports.join()
    return ports.length
  }
  /** Whether a process that has ended is still a target: Prometheus takes five seconds to drop it. */
  const isGone = (instance = "") =>
    instance !== "" &&
    !world.members.some(({ alive, ports }) => alive && instance === `127.0.0.1:${ports.admin}`)

  async function look(): Promise<void> {
    await scrapeAll()
    for (const { name, labels, summary } of await prometheus.firing())
      if (!seen.has(name) && !isGone(labels.instance)) seen.set(name, { at: Date.now(), summary })
  }

  async function until(ms: number, holds: () => boolean | Promise<boolean>): Promise<boolean> {
    const deadline = performance.now() + ms
    while (!(await holds())) {
      if (performance.now() > deadline) return false
      await sleep(LOOK_MS)
    }
    return true
  }

  /** Whether an alert says that there is nobody, although somebody is. */
  const isLate = (name: string) =>
    (name === "UnsealIngestAbsent" && world.ingests.length > 0) ||
    (name === "UnsealWorkersAbsent" && world.workers.length > 0)

  try {
    // Prometheus scrapes new targets after five seconds. Until then, everything is absent.
    const isCalm = await until(60_000, async () => {
      const targets = await scrapeAll()
      const firing = await prometheus.firing()
      return (
        (await prometheus.query("sum(up)").catch(() => null)) === targets &&
        firing.every(({ name }) => allowed.has(name) && !isLate(name))
      )
    })
    if (!isCalm) throw new Error(`at the beginning, these fire: ${JSON.stringify(await prometheus.firing())}`)
  } catch (error) {
    await prometheus.close()
    throw error
  }

  const looking = (async () => {
    while (!stopped) {
      // Prometheus may be late on a busy machine. It is asked again.
      await look().catch(() => {})
      await sleep(LOOK_MS)
    }
  })()

  return {
    async end() {
      const failures: string[] = []
      const due = expected.brief ? [] : expected.fire
      await until(PATIENCE_MS, () => due.every((alert) => seen.has(alert)))
      for (const alert of due) if (!seen.has(alert)) failures.push(`${alert} did not fire`)
      for (const [alert, { summary }] of seen)
        if (!allowed.has(alert)) failures.push(`${alert} fired: ${summary}`)

      const overAt = performance.now()
      await tidyUp(world)
      const left = async () =>
        (await prometheus.firing()).map(({ name }) => name).filter((alert) => !STAY.includes(alert))
      const allResolved = await until(RESOLVES_MS, async () => (await left()).length === 0)
      if (!allResolved) failures.push(`still firing: ${[...new Set(await left())].join(", ")}`)
      const faultAt = world.history.entries.find(({ kind }) => kind === "fault")?.at
      const after = (at: number) =>
        faultAt === undefined ? "" : ` ${Math.round((at - faultAt) / 1_000)} s after the first fault`
      const fired = [...seen].map(([alert, { at }]) => `${alert}${after(at)}`)
      const resolved = `resolved ${Math.round((performance.now() - overAt) / 1_000)} s after the end`
      return { measured: `alerts: ${fired.join(", ") || "none"}; ${resolved}`, failures }
    },
    async close() {
      stopped = true
      await looking
      await prometheus.close()
    },
  }
}

/** Does what an operator does at the end of a bad day: discards dead letters, and makes Redis durable. */
async function tidyUp(world: World): Promise<void> {
  const deadLetters = () => world.client.zrange(queueKey(QUEUE, "failed"), 0, "-1")
  const dead = await deadLetters()
  if (dead.length > 0) {
    const args = ["queue", "discard", ...dead, "--reason", "the row is over"]
    const { code, stderr } = await runCli(args, { env: world.workerEnv })
    if (code !== 0) throw new Error(`queue discard ended with ${code}: ${stderr}`)
    if ((await deadLetters()).length > 0) throw new Error("a dead letter was not discarded")
  }
  await world.client.config("SET", "appendfsync", "always")
}
