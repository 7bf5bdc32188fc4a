/** `unseal capacity`: the page's own example, and answers to what can't be. */
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import type { Capacity } from "@unseal/operations/capacity/capacity"
import { expect, test } from "vitest"
import { runCli } from "../../harness/process.ts"

const PAGE = readFileSync(resolve(import.meta.dirname, "../../../docs/capacity.md"), "utf8")
const block = (kind: string) => new RegExp(`^\`\`\`${kind}\n(.*?)^\`\`\``, "ms").exec(PAGE)![1]!.trimEnd()

test("the page's example prints what the page shows", async () => {
  const [, ...args] = block("sh").split(" ")
  const { code, stdout, stderr } = await runCli(args)
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
  const lines = stdout.toString().split("\n")
  for (const shown of block("text").split("\n")) {
    const [start = ""] = shown.split("…")
    expect(lines.filter((line) => line.startsWith(start))).toHaveLength(1)
  }
})

test("as JSON it has every number, and no price that nobody gave", async () => {
  const { stdout } = await runCli(["capacity", "--archives-per-hour", "10", "--size", "1GiB", "--json"])
  const plan = JSON.parse(stdout.toString()) as Capacity
  expect(plan).toMatchObject({ partsPerArchive: 128, workers: { count: 2 }, stores: { costPerMonth: null } })
  expect(plan.limits).toHaveLength(5)
})

test.for([
  [["--size", "1MB"], "required option '--archives-per-hour <count>' not specified"],
  [["--archives-per-hour", "many", "--size", "1MB"], '--archives-per-hour must be a number, not "many"'],
  [["--archives-per-hour", "0", "--size", "1MB"], "archives per hour must be more than 0"],
  [["--archives-per-hour", "1", "--size", "1XB"], '--size must be a size like 500MB or 1.5GiB, not "1XB"'],
  [
    ["--archives-per-hour", "1", "--size", "1MB", "--price-gb", "-1"],
    '--price-gb must be a number, not "-1"',
  ],
  [["--archives-per-hour", "1", "--size", "1MB", "--outage", "soon"], "--outage must be"],
] as const)("%o is refused with what is wrong, and exits with 2", async ([args, said], { expect }) => {
  const { code, stdout, stderr } = await runCli(["capacity", ...args])
  expect({ code, stdout: stdout.toString() }).toEqual({ code: 2, stdout: "" })
  expect(stderr).toContain(said)
})
