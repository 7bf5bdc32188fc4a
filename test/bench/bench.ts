/** `npm run bench`: what decrypting costs, against what people do without Unseal. See docs/performance.md for how to read it. */
import { cpus, loadavg, totalmem } from "node:os"
import { join } from "node:path"
import { openBench } from "./bench-context.ts"
import { CHAPTERS } from "./chapters/all.ts"
import { readOptions, USAGE } from "./options.ts"
import { mebibytes, toMarkdown, writeSection } from "./report.ts"

const DOCUMENT = join(import.meta.dirname, "../../docs/performance.md")

function options() {
  try {
    return readOptions(
      process.argv.slice(2),
      CHAPTERS.map(({ name }) => name),
    )
  } catch (error) {
    const chapters = CHAPTERS.map(({ name, title }) => `  ${name.padEnd(10)} ${title}`).join("\n")
    process.stderr.write(`${(error as Error).message}\n\n${USAGE}\n\nchapters:\n${chapters}\n`)
    process.exit(2)
  }
}

const chosen = options()
const bench = await openBench(chosen)
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130))
try {
  const cores = cpus()
  const machine = `${cores.length} × ${cores[0]?.model.trim()}, ${mebibytes(totalmem())}, Linux, Node ${process.versions.node}, OpenSSL ${process.versions.openssl} in it`
  const when = `${new Date().toISOString().slice(0, 10)}${chosen.quick ? ", quick form: for ratios only" : ""}`
  for (const name of chosen.chapters) {
    const { title, run } = CHAPTERS.find((chapter) => chapter.name === name)!
    const load = `load ${loadavg()[0]!.toFixed(1)} before`
    bench.say(`\n${title}`)
    try {
      const section = await run(bench)
      if (section.failures.length > 0) process.exitCode = 1
      const markdown = toMarkdown({
        ...section,
        conditions: `${section.conditions} ${machine}; ${when}; ${load}.`,
      })
      process.stdout.write(`\n## ${title}\n\n${markdown}\n`)
      if (chosen.write) writeSection(DOCUMENT, name, markdown)
    } catch (error) {
      // The other chapters still run.
      bench.say(`FAILED: chapter ${name}: ${(error as Error).stack}`)
      process.exitCode = 1
    }
  }
} finally {
  await bench.close()
}
// A failed chapter may have left processes running. They end with this one, and would keep it alive.
process.exit()
