/** `npm run docs`: writes into the documents what the code knows better: the table of settings, and `.env.example`. */
import { readFileSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import {
  defaultOf,
  SETTINGS,
  type SettingName,
  settingRow,
  settingsTable,
} from "@unseal/service/setting-table"

const root = resolve(import.meta.dirname, "../..")
const BEGIN = "<!-- settings: written by npm run docs -->"
const END = "<!-- end of settings -->"

/** The README with its table of settings as the code has it. */
export function readmeWithSettings(readme: string): string {
  const [before, rest] = readme.split(BEGIN)
  const after = rest?.split(END)[1]
  if (before === undefined || after === undefined) throw new Error(`the README has no ${BEGIN} … ${END}`)
  return `${before}${BEGIN}\n${settingsTable()}${END}${after}`
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
    "# Settings of all processes: copy to .env and uncomment what differs. One file may serve them all.",
    "# The SDKs keep their own names: AWS_ACCESS_KEY_ID, AWS_REGION, AZURE_STORAGE_CONNECTION_STRING, ...",
    "",
  ]
  return `${head.join("\n")}\n${rows.join("\n")}`
}

if (import.meta.main) {
  const path = join(root, "README.md")
  writeFileSync(path, readmeWithSettings(readFileSync(path, "utf8")))
  writeFileSync(join(root, ".env.example"), envExample())
}
