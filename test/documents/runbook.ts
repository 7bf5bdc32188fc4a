/** The table of bad days in `docs/runbook.md`; what is around it is written by hand. */
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { EXPECTED } from "../chaos/alerts.ts"
import { ROWS } from "../chaos/rows/all.ts"
import { table } from "./markdown.ts"

const BETWEEN =
  /(?<=<!-- Bad days: written by npm run docs from the code\. -->\n).*?(?=<!-- End of the bad days\. -->)/s

const link = (alert: string): string => `[${alert}](#${alert.toLowerCase()})`

export function runbookDocument(): string {
  const text = readFileSync(resolve(import.meta.dirname, "../../docs/runbook.md"), "utf8")
  const rows = ROWS.map(({ name, fault }) => {
    const { fire, may = [], owner, instead } = EXPECTED[name]!
    const others = may.filter((alert) => !fire.includes(alert))
    return [
      fault,
      instead === undefined ? fire.map(link).join(", ") : `nothing: ${instead}`,
      owner,
      others.map(link).join(", ") || "–",
    ]
  })
  return text.replace(
    BETWEEN,
    () => `\n${table(["bad day", "shows", "whose trouble", "may show, too"], rows)}\n`,
  )
}
