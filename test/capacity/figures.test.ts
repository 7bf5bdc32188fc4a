/** The figures of `unseal capacity` are those of this version: counted anew, or as the bench has printed them last. */
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { FIGURES } from "@unseal/operations/capacity/figures"
import { expect, test } from "vitest"
import { measureArchiveCosts } from "../bench/archive-costs.ts"

const PAGE = readFileSync(resolve(import.meta.dirname, "../../docs/performance.md"), "utf8")

/** A cell's number, without its range, of the first row that begins with `row` in a chapter's table. */
function printed(chapter: string, row: string, column: number): number {
  const [, table = ""] =
    new RegExp(`<!-- bench:${chapter} -->(.*?)<!-- /bench:${chapter} -->`, "s").exec(PAGE) ?? []
  const line = table.split("\n").find((text) => text.startsWith(`| ${row}`))
  return Number.parseFloat(line?.split(" | ")[column] ?? "")
}

const isNear = (value: number, figure: number, least: number, most: number) => {
  expect(value / figure).toBeGreaterThan(least)
  expect(value / figure).toBeLessThan(most)
}

test("what can be counted is counted again: Redis' memory, commands and file, and the stores' requests", async () => {
  const { redis, part, stores } = await measureArchiveCosts(60, [3])
  isNear(redis.waitingBytes, FIGURES.waitingBytes.value, 0.85, 1.15)
  isNear(redis.keptBytes, FIGURES.keptBytes.value, 0.85, 1.15)
  // What processes ask in the background counts too, and there is more of it on a slow machine.
  isNear(redis.commands, FIGURES.commands.value, 0.8, 1.8)
  isNear(redis.aofBytes, FIGURES.aofBytes.value, 0.8, 1.5)
  isNear(part.commands, FIGURES.commandsPerPart.value, 0.75, 1.8)
  isNear(part.aofBytes, FIGURES.aofBytesPerPart.value, 0.75, 1.5)
  const of = (parts: number) => parts + FIGURES.requestsBesideParts.value
  const one = FIGURES.requestsOfOnePart.value
  expect(stores).toEqual([
    { parts: 1, reads: one, writes: one },
    { parts: 3, reads: of(3), writes: of(3) },
  ])
}, 300_000)

test("what takes time is what the bench has printed, within what machines differ", () => {
  const gib = printed("digests", "on (SHA-256", 2)
  isNear(gib, FIGURES.workerCpuSecondsPerGib.value, 0.75, 1.25)
  const tls = printed("tls", "**worker, TLS**", 2) - printed("tls", "worker, plain HTTP", 2)
  isNear(tls, FIGURES.tlsCpuSecondsPerGib.value, 0.75, 1.25)
  // Archives of 1 MiB: what their bytes do not explain.
  isNear(printed("small", "sha256", 2) - gib / 1.024, FIGURES.workerCpuMs.value, 0.75, 1.25)
  isNear(printed("ingest", "**ingest**, signature verified", 1), FIGURES.ingestPerSecond.value, 0.75, 1.25)
  isNear(printed("ingest", "**ingest**, signature verified", 5), FIGURES.ingestCpuMs.value, 0.75, 1.25)
  isNear(printed("capacity", "Redis: processor time", 1), FIGURES.redisCpuMs.value, 0.75, 1.25)
})
