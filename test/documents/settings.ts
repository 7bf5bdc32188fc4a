/** `docs/settings.md` and `.env.example`: every setting, as the table in the code has it. */
import { defaultOf, SETTINGS, type SettingName, settingRow } from "@unseal/service/setting-table"
import { settingsTable } from "@unseal/service/settings-markdown"
import { generated } from "./markdown.ts"

export function settingsDocument(): string {
  return generated(
    "Settings",
    "Environment variables. Each secret also as `NAME_FILE`, which names a file that holds it. An unknown `UNSEAL_…` name is an error with a suggestion, and all problems are told at once. The SDKs keep their own names (`AWS_…`, `AZURE_…`). [.env.example](../.env.example) has them all, ready to be uncommented, and says how to load it.",
    settingsTable(),
  )
}

/** Every setting, commented out, with its meaning and default. */
export function envExample(): string {
  const rows = (Object.keys(SETTINGS) as SettingName[]).map((name) => {
    const { meaning, for: processes, secret } = settingRow(name)
    const value = [...new Set(processes.map((process) => defaultOf(name, process)))]
    const file = secret ? ` (or ${name}_FILE)` : ""
    return `# ${meaning}${file}\n# ${name}=${value[0] ?? ""}\n`
  })
  const head = [
    "# Settings of all processes. Copy this file to .env and uncomment what differs; one file may serve them all.",
    "# No process reads .env by itself. Load it in the shell that starts the process:",
    "#   set -a; . ./.env; set +a",
    "# A value with & or a blank stands in single quotes: UNSEAL_SOURCE='s3://bucket?region=eu-west-1&profile=recordings'",
    "# The SDKs keep their own names: AWS_ACCESS_KEY_ID, AWS_REGION, AZURE_STORAGE_CONNECTION_STRING, ...",
    "",
  ]
  return `${head.join("\n")}\n${rows.join("\n")}`
}
