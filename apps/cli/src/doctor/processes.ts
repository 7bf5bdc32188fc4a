/** The processes' own readers of their settings, which apps/entry.mjs sets for the doctor: an app does not import another. */
import type { Environment } from "@unseal/service/settings/settings"

/** Loads a process's config.ts. `readConfig` throws `ConfigurationError` with every problem. */
export type LoadConfig = () => Promise<{ readConfig(env: Environment): unknown }>

export type DoctorProcess = "ingest" | "worker"

let processes: Readonly<Record<DoctorProcess, LoadConfig>> | undefined

export function setProcesses(given: Readonly<Record<DoctorProcess, LoadConfig>>): void {
  processes = given
}

/** Throws if the command was not started by its entry. */
export function getProcess(name: DoctorProcess): LoadConfig {
  if (processes === undefined) throw new Error("the doctor was started without apps/entry.mjs")
  return processes[name]
}
