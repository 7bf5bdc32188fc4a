/** `docs/settings.md` and `.env.example`: every setting, from the table and the schemas in the code. */

import { takesOf } from "@unseal/service/settings/settings"
import { defaultOf, SETTINGS, type SettingName, settingRow } from "@unseal/service/settings/table"
import { schema as cli } from "../../apps/cli/src/config.ts"
import { schema as console } from "../../apps/console/src/config.ts"
import { schema as ingest } from "../../apps/ingest/src/config.ts"
import { schema as worker } from "../../apps/worker/src/config.ts"
import { code, generated, table } from "./markdown.ts"

/** What each setting takes. Processes that read the same setting must take the same. */
function takes(): Readonly<Record<string, string>> {
  const known: Record<string, string> = {}
  for (const name of Object.keys(SETTINGS) as SettingName[]) {
    const words = settingRow(name).takes
    if (words !== undefined) known[name] = words
  }
  for (const { shape } of [ingest, worker, console, cli])
    for (const [name, one] of Object.entries(shape)) {
      const words = takesOf(one)
      if (words === null) throw new Error(`the schema of ${name} does not say what it takes`)
      if ((known[name] ?? words) !== words)
        throw new Error(`${name} takes ${known[name]} in one process and ${words} in another`)
      known[name] = words
    }
  return known
}

export function settingsDocument(): string {
  const known = takes()
  const rows = (Object.keys(SETTINGS) as SettingName[]).map((name) => {
    const row = settingRow(name)
    const defaults =
      row.default === null
        ? ["–"]
        : typeof row.default === "string"
          ? [code(row.default)]
          : Object.entries(row.default).map(([process, value]) => `${process} ${code(value)}`)
    const file = row.secret ? ` (or ${code(`${name}_FILE`)})` : ""
    return [code(name), row.for.join(", "), known[name] ?? "", defaults.join(", "), `${row.meaning}${file}`]
  })
  return generated(
    "Settings",
    "Settings are environment variables. For each secret, `NAME_FILE` may name a file that holds it. An unknown `UNSEAL_…` name is an error with a suggestion. All problems are reported together. The SDKs keep their own names (`AWS_…`, `AZURE_…`), and so does [tracing](tracing.md) (`OTEL_…`). [.env.example](../.env.example) has all settings, commented out, and says how to load it.",
    "*For* lists the processes that read a setting. The others ignore it, so one file can serve all processes. The simulator has [its own settings](simulator.md#settings).",
    table(["name", "for", "takes", "default", "meaning"], rows),
  )
}

/** Every setting, commented out, with its meaning, what it takes and its default. */
export function envExample(): string {
  const known = takes()
  const rows = (Object.keys(SETTINGS) as SettingName[]).map((name) => {
    const { meaning, for: processes, secret } = settingRow(name)
    const value = [...new Set(processes.map((process) => defaultOf(name, process)))]
    const file = secret ? ` (or ${name}_FILE)` : ""
    const words = known[name]?.replace(/\[([^\]]+)\]\(([^)]+)\)/, "$1 (docs/$2)")
    return `# ${meaning}${file}\n# takes ${words}\n# ${name}=${value[0] ?? ""}\n`
  })
  const head = [
    "# Settings of all processes. Copy this file to .env and uncomment what differs; one file may serve them all.",
    "# No process reads .env by itself. Load it in the shell that starts the process:",
    "#   set -a; . ./.env; set +a",
    "# Put a value with & or a space into single quotes: UNSEAL_SOURCE='s3://bucket?region=eu-west-1&profile=recordings'",
    "# The SDKs keep their own names: AWS_ACCESS_KEY_ID, AWS_REGION, AZURE_STORAGE_CONNECTION_STRING, ...",
    "# So does tracing (docs/tracing.md): OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, ...",
    "",
  ]
  return `${head.join("\n")}\n${rows.join("\n")}`
}
