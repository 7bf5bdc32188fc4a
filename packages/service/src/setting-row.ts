/** The processes that read settings from their environment. */
export type ProcessName = "ingest" | "worker" | "simulator" | "cli"

export interface SettingRow {
  /** The processes that read it. */
  readonly for: readonly ProcessName[]
  /** What an unset variable stands for, as it would be written in the environment; `null` if there is nothing. */
  readonly default: string | null | Partial<Record<ProcessName, string>>
  /** What may be written, in a few words for docs/settings.md, if it is not the schema of a process that says it. */
  readonly takes?: string
  /** One sentence, for docs/settings.md. */
  readonly meaning: string
  /** May also be given as a file (`NAME_FILE`), and never appears in a message. */
  readonly secret?: true
  /** What it was called before: answered with the new name. */
  readonly formerly?: string
}

/** Those that run until they are stopped, and log. */
export const EVERY_SERVER = ["ingest", "worker", "simulator"] as const
