import { EVERY_PROCESS, SETTINGS, type SettingName, settingRow } from "./setting-table.ts"

/** The settings as a Markdown table: name, processes, default, meaning. docs/settings.md is made from it. */
export function settingsTable(): string {
  const rows = (Object.keys(SETTINGS) as SettingName[]).map((name) => {
    const row = settingRow(name)
    const processes = EVERY_PROCESS.every((process) => row.for.includes(process)) ? "all" : row.for.join(", ")
    const defaults =
      row.default === null
        ? "–"
        : typeof row.default === "string"
          ? `\`${row.default}\``
          : Object.entries(row.default)
              .map(([process, value]) => `${process} \`${value}\``)
              .join(", ")
    const meaning = row.secret ? `${row.meaning} (or \`${name}_FILE\`)` : row.meaning
    return `| \`${name}\` | ${processes} | ${defaults} | ${meaning} |`
  })
  return ["| name | for | default | meaning |", "|---|---|---|---|", ...rows, ""].join("\n")
}
