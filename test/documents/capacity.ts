/** The table of figures in `docs/capacity.md`; what is around it is written by hand. */
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { FIGURES } from "@unseal/operations/capacity/figures"
import { code, table } from "./markdown.ts"

const BETWEEN =
  /(?<=<!-- Figures: written by npm run docs from the code\. -->\n).*?(?=<!-- End of the figures\. -->)/s

export function capacityDocument(): string {
  const text = readFileSync(resolve(import.meta.dirname, "../../docs/capacity.md"), "utf8")
  const rows = Object.values(FIGURES).map(({ what, value, unit, chapter }) => [
    what,
    `${value.toLocaleString("en")} ${unit}`,
    code(`npm run bench -- --chapter ${chapter}`),
  ])
  return text.replace(BETWEEN, () => `\n${table(["figure", "measured", "printed by"], rows)}\n`)
}
