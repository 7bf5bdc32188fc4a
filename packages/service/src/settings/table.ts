import { CONSOLE_SETTINGS } from "./of-console.ts"
import { PROCESS_SETTINGS } from "./of-processes.ts"
import { PROJECT_SETTINGS } from "./of-projects.ts"
import { WORK_SETTINGS } from "./of-work.ts"
import type { ProcessName, SettingRow } from "./row.ts"

export type { ProcessName } from "./row.ts"

/**
 * All settings, in the order of the documents. One `.env` serves all processes, so each of them knows all names, and refuses any
 * other `UNSEAL_…` name. The SDKs' names (`AWS_…`, `AZURE_…`) are their own and not listed.
 */
export const SETTINGS = {
  ...PROCESS_SETTINGS,
  ...PROJECT_SETTINGS,
  ...WORK_SETTINGS,
  ...CONSOLE_SETTINGS,
} as const

export type SettingName = keyof typeof SETTINGS

/** The names of the settings that process `P` reads. */
export type SettingOf<P extends ProcessName> = {
  [Name in SettingName]: P extends (typeof SETTINGS)[Name]["for"][number] ? Name : never
}[SettingName]

/** The row of `name`, including the columns that only some rows have. */
export const settingRow = (name: SettingName): SettingRow => SETTINGS[name]

/** The default of `name` for `process`, as it would be written in the environment. */
export function defaultOf(name: SettingName, process: ProcessName): string | undefined {
  const { default: value } = settingRow(name)
  return typeof value === "object" ? value?.[process] : value
}
