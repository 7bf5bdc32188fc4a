/** `unseal doctor`: prints what packages/operations checks. */
import { counted } from "@unseal/archive/counted"
import { type Check, examine } from "@unseal/operations/doctor/doctor"
import { parseRedisUrl } from "@unseal/service/redis/url"
import { ConfigurationError } from "@unseal/service/settings/settings"
import { readDoctorSettings } from "../config.ts"
import { readDuration } from "../terminal/duration.ts"
import { EXIT, UsageError } from "../terminal/exit.ts"
import { accessOf } from "./access.ts"
import type { DoctorProcess } from "./processes.ts"
import { examineSettings } from "./settings.ts"

export interface DoctorCommandOptions {
  /** Ids. Empty: all. */
  readonly project: readonly string[]
  /** Default: both. */
  readonly for?: DoctorProcess
  readonly timeout: string
  readonly json?: true
}

export async function doctorCommand(options: DoctorCommandOptions, signal: AbortSignal): Promise<void> {
  const limitMs = readDuration("--timeout", options.timeout)
  const checks: Check[] = []
  const tell = (check: Check) => {
    checks.push(check)
    if (!options.json) process.stdout.write(lineOf(check))
  }
  for (const check of await examineSettings(options.for === undefined ? ["worker", "ingest"] : [options.for]))
    tell(check)
  const areSettingsWrong = hasFailed(checks)

  const read = readDoctorSettings()
  const { settings, projects } = read
  const wanted =
    options.project.length > 0 ? options.project.map((id) => id.toLowerCase()) : [...projects.keys()]
  const unknown = wanted.filter((id) => !projects.has(id))
  // A project with wrong settings is missing here, and its problems have been reported.
  if (unknown.length > 0 && !areSettingsWrong)
    throw new UsageError(
      `there is no project ${unknown.join(", ")}: the projects are ${[...projects.keys()].join(", ")}`,
    )
  const looks = {
    redis:
      settings instanceof ConfigurationError
        ? null
        : {
            queue: settings.UNSEAL_QUEUE,
            replicas: settings.UNSEAL_REDIS_REPLICAS,
            durability: settings.UNSEAL_REDIS_DURABILITY,
            form: parseRedisUrl(settings.REDIS_URL).form,
          },
    // Ingest opens no store and has no key.
    projects: options.for === "ingest" ? [] : wanted.flatMap((id) => projects.get(id) ?? []),
    limitMs,
  }
  if (settings instanceof ConfigurationError)
    tell({ name: "redis", status: "not checked", seen: settings.problems.join("; "), moves: [] })
  for await (const check of examine(accessOf(read), looks, signal)) tell(check)

  if (options.json) process.stdout.write(`${JSON.stringify({ healthy: !hasFailed(checks), checks })}\n`)
  else process.stdout.write(summaryOf(checks))
  // Whatever did not answer may never answer, and would keep the process alive.
  process.exit(areSettingsWrong ? EXIT.usage : hasFailed(checks) ? EXIT.failed : EXIT.done)
}

const hasFailed = (checks: readonly Check[]) => checks.some(({ status }) => status === "failed")

const WHOSE = {
  operator: "you",
  redis: "who runs Redis",
  store: "the store's owner",
  vendor: "the vendor",
  clock: "who sets the clocks",
} as const

function lineOf({ name, projectId, status, seen, moves }: Check): string {
  const what = projectId === undefined ? name : `${projectId} ${name}`
  const told = moves.map(({ whose, what }) => `${" ".repeat(12)}→ ${WHOSE[whose]}: ${what}\n`)
  return `${status.padEnd(11)} ${what.padEnd(20)} ${seen}\n${told.join("")}`
}

function summaryOf(checks: readonly Check[]): string {
  const count = (status: Check["status"]) => checks.filter((check) => check.status === status).length
  const parts = [
    ...[`${counted(count("failed"), "check")} failed`, counted(count("warning"), "warning")],
    ...[`${count("ok")} ok`, `${count("not checked")} not checked`],
  ]
  return `${parts.join(", ")}\n`
}
