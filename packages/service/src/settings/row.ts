/** The processes that read settings from their environment. */
export type ProcessName = "ingest" | "worker" | "console" | "simulator" | "cli"

export interface SettingRow {
  /** The processes that read it. */
  readonly for: readonly ProcessName[]
  /** The value of an unset variable, as it would be written in the environment; `null` if there is none. */
  readonly default: string | null | Partial<Record<ProcessName, string>>
  /** The allowed values, in a few words for docs/settings.md, unless a process's schema says them. */
  readonly takes?: string
  /** One sentence, for docs/settings.md. */
  readonly meaning: string
  /** May also be given as a file (`NAME_FILE`), and never appears in a message. */
  readonly secret?: true
  /** Its earlier name, which is answered with the present one. */
  readonly formerly?: string
}

/** The processes that run until they are stopped, and log. */
export const EVERY_SERVER = ["ingest", "worker", "console", "simulator"] as const
