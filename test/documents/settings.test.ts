/**
 * Finds out by trying who reads a setting: with another value, each process that reads it gives another result, or refuses the
 * value.
 */
import { generateKeyPairSync } from "node:crypto"
import { ConfigurationError } from "@unseal/service/settings/configuration-error"
import type { Environment, ProcessName } from "@unseal/service/settings/settings"
import { SETTINGS, type SettingName, settingRow } from "@unseal/service/settings/table"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { readConfig as readConsole } from "../../apps/console/src/config.ts"
import { readConfig as readIngest } from "../../apps/ingest/src/config.ts"
import { readConfig as readSimulator } from "../../apps/simulator/src/config.ts"
import { readConfig as readWorker } from "../../apps/worker/src/config.ts"

type Cli = typeof import("../../apps/cli/src/config.ts")

const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })

/** One project of a Vonage application, whose callbacks are signed; with an API secret as well, which is read all the same. */
const BASE: Environment = {
  UNSEAL_PROJECT_ID: "6f0c4b2e-8c55-4c5b-9a3b-0d4f1f0e7a11",
  UNSEAL_SOURCE: "file:///source",
  UNSEAL_DESTINATION: "file:///destination",
  UNSEAL_KEYS: "/keys",
  UNSEAL_SIGNATURE_SECRET: "0123456789abcdef",
  UNSEAL_APPLICATION_KEY: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
  ...{ SIMULATOR_S3_PORT: "0", AWS_ACCESS_KEY_ID: "me", AWS_SECRET_ACCESS_KEY: "made-up" },
  SIMULATOR_REST_PORT: "0",
  // Without anybody who could sign in there is no console.
  ...{ UNSEAL_CONSOLE_PROXY_HEADER: "X-User", UNSEAL_CONSOLE_PROXY_NETWORKS: "10.0.0.0/8" },
  SIMULATOR_API_SECRET: "0123456789abcdef",
}
/** Not a value of any setting, except of those that take any text. */
const OTHER = "\u0001 ://"

let cli: Cli
const own = process.env
const environment: Record<string, string | undefined> = {}
beforeAll(async () => {
  // The commands' settings come from the environment itself, which config.ts takes once.
  process.env = environment
  cli = await import("../../apps/cli/src/config.ts")
})
afterAll(() => {
  process.env = own
})

const projects = (of: { ids: readonly string[]; get(id: string): unknown }) => of.ids.map((id) => of.get(id))

/** All that the commands of the command line read. */
function readCli(env: Environment): unknown {
  for (const name of Object.keys(environment)) delete environment[name]
  Object.assign(environment, env)
  const vendor = cli.readVendorSettings({})
  const reconcile = cli.readReconcileSettings()
  const shown = cli.readShownProjects({})
  const doctor = cli.readDoctorSettings().settings
  if (doctor instanceof ConfigurationError) throw doctor
  return [
    doctor,
    ...[cli.readArchiveSettings(), vendor.settings, projects(vendor.projects)],
    ...[reconcile.settings, projects(reconcile.projects), shown && projects(shown.projects)],
  ]
}

const READERS: Readonly<Record<ProcessName, (env: Environment) => unknown>> = {
  ingest(env) {
    const { projects: all, ...settings } = readIngest(env)
    return [settings, projects(all)]
  },
  worker(env) {
    const { settings, projects: all, vendors } = readWorker(env)
    return [settings, projects(all), all.ids.map((id) => vendors.get(id))]
  },
  console: readConsole,
  simulator(env) {
    const { env: _, ...settings } = readSimulator(env)
    return settings
  },
  cli: readCli,
}

/** What process `name` makes of `env`, in a form that can be compared. */
function outcome(name: ProcessName, env: Environment): string {
  try {
    return JSON.stringify(READERS[name](env))
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error
    return error.problems.join("\n")
  }
}

/** An API secret counts only where the REST API is authenticated by it. */
const BESIDE: Partial<Record<SettingName, Environment>> = {
  UNSEAL_API_SECRET: { UNSEAL_PROJECT_ID: "123456", UNSEAL_APPLICATION_KEY: "", UNSEAL_API_SECRET: "secret" },
}

describe("a setting", () => {
  it.each(Object.keys(SETTINGS) as SettingName[])(
    "%s is read by the processes that the table says",
    (name) => {
      const processes = Object.keys(READERS) as ProcessName[]
      const base = { ...BASE, ...BESIDE[name] }
      const readers = processes.filter(
        (process) => outcome(process, base) !== outcome(process, { ...base, [name]: OTHER }),
      )
      expect(readers.toSorted()).toEqual([...settingRow(name).for].toSorted())
    },
  )

  it("is taken by each process as it stands in the base of this test", () => {
    for (const process of Object.keys(READERS) as ProcessName[])
      expect(outcome(process, BASE), process).toMatch(/^[[{]/)
  })
})
