import { defaultOf, type ProcessName, SETTINGS, type SettingName, settingRow } from "./table.ts"

/** What `--help` of a process says about one setting. */
export interface HelpRow {
  readonly name: string
  /** As it would be written in the environment. */
  readonly default?: string | undefined
  /** One sentence, in Markdown. */
  readonly meaning: string
  /** Whether `NAME_FILE` may hold it. */
  readonly secret?: boolean | undefined
}

/** The settings that `process` reads, as help rows. */
export const helpRowsOf = (process: ProcessName): readonly HelpRow[] =>
  (Object.keys(SETTINGS) as SettingName[])
    .filter((name) => settingRow(name).for.includes(process))
    .map((name) => ({ ...settingRow(name), name, default: defaultOf(name, process) }))

/** Columns of an ordinary terminal. */
const WIDTH = 80
const INDENT = "      "

/** The help of a process that takes no arguments: `about` is one paragraph, `rows` are its settings. Ends with a line break. */
export function processHelp(command: string, about: string, rows: readonly HelpRow[]): string {
  const settings = rows.map((row) => {
    const value = row.default === undefined ? "" : `=${row.default}`
    const meaning = `${row.meaning}${row.secret ? ` (or ${row.name}_FILE)` : ""}`
    return `  ${row.name}${value}\n${wrapLines(plain(meaning), INDENT)}\n`
  })
  return [
    `Usage: ${command}\n`,
    `${wrapLines(about)}\n`,
    `${wrapLines("Settings are environment variables, shown with their defaults. Those of an SDK (AWS_…, AZURE_…) keep their names.")}\n`,
    ...settings,
    "Exit codes: 0 stopped by a signal · 1 failed · 2 configuration\n",
  ].join("\n")
}

/** Markdown without its backticks and links. */
const plain = (text: string) => text.replaceAll("`", "").replace(/\[([^\]]+)\]\([^)]+\)/g, "$1")

function wrapLines(text: string, indent = ""): string {
  const lines: string[] = []
  for (const word of text.split(" ")) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= WIDTH)
      lines[lines.length - 1] = `${last} ${word}`
    else lines.push(`${indent}${word}`)
  }
  return lines.join("\n")
}
