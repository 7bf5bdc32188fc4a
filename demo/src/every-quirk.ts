/** `npm run demo -- --quirk all`: a demo of its own for each quirk, one after the other, and a table of how each ended. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { type QuirkRun, quirkRuns } from "./quirk-ends.ts"
import { bold, green, heading, progress, red, table } from "./screen.ts"

/** One part and several parts, and more than one archive of each at once. */
const ARCHIVES = "4"

/** Whether every quirk ended as it must. */
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

/** The line that tells how a demo ended, or its last one, and what was at the destination after a sentence. */
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
