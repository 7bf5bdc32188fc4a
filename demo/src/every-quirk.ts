/** `npm run demo -- --quirk all`: runs one demo for each quirk in turn, and shows a table of how each ended. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { type QuirkRun, quirkRuns } from "./quirk-ends.ts"
import { bold, green, heading, progress, red, table } from "./screen.ts"

/** Enough for more than one archive of one part, and of several parts, at once. */
const ARCHIVES = "4"

/** Resolves to whether every quirk ended as expected. */
export async function runEveryQuirk(): Promise<boolean> {
  const runs = quirkRuns()
  heading(`Every quirk of the S3 server, one after the other: ${runs.length} runs`)
  const rows: string[][] = []
  let wrong = 0
  for (const run of runs) {
    progress(`${rows.length} of ${runs.length} done, ${wrong} wrong; now ${nameOf(run)}`)
    const { code, text } = await runDemo(run)
    if (code !== 0) wrong++
    rows.push([nameOf(run), code === 0 ? green("right") : red("WRONG"), endOf(text)])
  }
  table(["quirk", "", "how it ended"], rows, [])
  const summary = `${runs.length - wrong} of ${runs.length} runs ended as they must`
  process.stdout.write(`\n  ${wrong === 0 ? green(bold(summary)) : red(bold(summary))}\n`)
  return wrong === 0
}

const nameOf = ({ quirk, plainUrls }: QuirkRun): string => (plainUrls ? `${quirk} --plain-urls` : quirk)

async function runDemo({ quirk, plainUrls }: QuirkRun): Promise<{ code: number | null; text: string }> {
  const args = ["--quirk", quirk, "--archives", ARCHIVES, "--no-journey"]
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, "demo.ts"), ...args, ...(plainUrls ? ["--plain-urls"] : [])],
    { stdio: ["ignore", "pipe", "inherit"] },
  )
  let text = ""
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk
  })
  const [code] = (await once(child, "close")) as [number | null]
  return { code, text }
}

/** The line that says how a demo ended, or its last line. After a sentence, adds what was at the destination. */
export function endOf(text: string): string {
  const lines = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
  const end = lines.findLast((line) => /byte for byte what openssl gives$|^ERR_[A-Z_]+: /.test(line))
  const shown = (end ?? lines.at(-1) ?? "said nothing").replace(/^(.{150}).+/, "$1…")
  const left = lines.findLast((line) => /^(At the destination|But): /.test(line))
  return left === undefined ? shown : `${shown} | ${left}`
}
