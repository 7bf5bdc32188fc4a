import type { ProcessName, SettingRow } from "./setting-row.ts"
import { PROCESS_SETTINGS } from "./settings-of-processes.ts"
import { PROJECT_SETTINGS } from "./settings-of-projects.ts"
import { WORK_SETTINGS } from "./settings-of-work.ts"

export type { ProcessName } from "./setting-row.ts"

/**
 * Every setting there is, in the order of the documents. One `.env` serves all processes, so each of them knows all the names,
 * and refuses an `UNSEAL_…` name that is not here. The names of the SDKs (`AWS_…`, `AZURE_…`) are theirs and not listed.
 */
export const SETTINGS = { ...PROCESS_SETTINGS, ...PROJECT_SETTINGS, ...WORK_SETTINGS } as const

export type SettingName = keyof typeof SETTINGS

/** The names of the settings that process `P` reads. */
export type SettingOf<P extends ProcessName> = {
  [Name in SettingName]: P extends (typeof SETTINGS)[Name]["for"][number] ? Name : never
}[SettingName]

/** The row of `name`, with the columns that only some rows have. */
export const settingRow = (name: SettingName): SettingRow => SETTINGS[name]

/** The default of `name` in process `process`, as it would be written in the environment. */
export function defaultOf(name: SettingName, process: ProcessName): string | undefined {
  const { default: value } = settingRow(name)
  return typeof value === "object" ? value?.[process] : value
}
