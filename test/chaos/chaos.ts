/**
 * The full numbers of the fault matrix: `npm run test:chaos -- [--row NAME]… [--seed N] [--scale X] [--alerts]`. With
 * `--alerts`, a Prometheus with the rules watches each row. Progress goes to stderr, the table in Markdown to stdout. Exit code
 * 1 if a row did not pass.
 */
import { parseArgs } from "node:util"
import { EXPECTED } from "./alerts.ts"
import type { Row, RowResult } from "./row.ts"
import { findRow, ROWS } from "./rows/all.ts"

const { values } = parseArgs({
  options: {
    row: { type: "string", multiple: true, default: [] },
    seed: { type: "string" },
    scale: { type: "string", default: "1" },
    alerts: { type: "boolean", default: false },
  },
})
const seed = Number(values.seed ?? Math.floor(Math.random() * 1e9))
const scale = Number(values.scale)
if (!Number.isInteger(seed) || !(scale > 0 && scale <= 1))
  throw new RangeError("--seed is a whole number, --scale above 0 and at most 1")
const rows = values.row.length > 0 ? values.row.map(findRow) : ROWS

// Ends everything that this process has started.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1))

const say = (text: string) => void process.stderr.write(`${text}\n`)
const cell = (text: string) => text.replaceAll("|", "\\|")
const lines: string[] = []
let failed = 0

say(`seed ${seed}, scale ${scale}: again with --seed ${seed}`)
for (const row of rows) {
  const startedAt = Date.now()
  say(`\n${row.name}: ${row.fault}`)
  const result = await attempt(row)
  const seconds = Math.round((Date.now() - startedAt) / 1_000)
  const passed = result.violations.length === 0
  if (!passed) failed++
  for (const { invariant, what } of result.violations.slice(0, 20)) say(`  ${invariant} ${what}`)
  say(`  ${result.measured} (${seconds} s) ${passed ? "passed" : "FAILED"}`)
  lines.push(
    `| ${row.name} | ${cell(row.fault)} | ${cell(result.runs)} | ${cell(row.demand)} | ${cell(result.measured)} | ${passed ? "yes" : `no: ${result.violations.length} violations`} |`,
  )
}
say(`\nseed ${seed}, scale ${scale}`)
process.stdout.write(
  `${["| row | fault | runs | demand | measured | pass |", "|---|---|---|---|---|---|", ...lines].join("\n")}\n`,
)
process.exit(failed > 0 ? 1 : 0)

async function attempt(row: Row): Promise<RowResult> {
  try {
    const alerts = values.alerts ? { alerts: EXPECTED[row.name]! } : {}
    return await row.run({ seed, scale, ...alerts, progress: (text) => say(`  ${text}`) })
  } catch (error) {
    say((error as Error).stack ?? String(error))
    return {
      runs: "",
      measured: "the row itself broke",
      violations: [{ invariant: "row", what: (error as Error).message }],
    }
  }
}
