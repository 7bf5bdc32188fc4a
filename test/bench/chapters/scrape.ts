import { crowdedRegistries } from "../crowded.ts"
import { show, spreadOf } from "../statistics.ts"
import type { Chapter } from "./chapter.ts"

const PROJECTS = 1_000
const ROUNDS = 15
const LIMIT_BYTES = 1_000_000
const LIMIT_MS = 200

export const scrape: Chapter = {
  name: "scrape",
  title: "A scrape with a thousand projects",
  async run() {
    const rows: string[][] = []
    let [most, longest] = [0, 0]
    for (const projectLabel of [true, false])
      for (const [name, registry] of Object.entries(
        crowdedRegistries({ projects: PROJECTS, projectLabel }),
      )) {
        const times: number[] = []
        let text = ""
        for (let round = 0; round < ROUNDS; round++) {
          const startedAt = performance.now()
          text = await registry.metrics()
          times.push(performance.now() - startedAt)
        }
        const { median } = spreadOf(times)
        most = Math.max(most, text.length)
        longest = Math.max(longest, median)
        const series = text.match(/^[a-z]/gm)!.length
        const label = projectLabel ? "yes" : "no"
        rows.push([name, label, String(text.length), String(series), show(spreadOf(times), 0)])
      }
    return {
      conditions: `${PROJECTS} projects with UUIDs, to each of which everything has happened that can happen; the worker observes the queue, too.`,
      columns: ["process", "label project", "bytes", "series", "ms"],
      rows,
      targets: [
        { claim: "under 1 MB", measured: `${most} bytes`, reached: most < LIMIT_BYTES },
        { claim: "under 200 ms", measured: `${Math.round(longest)} ms`, reached: longest < LIMIT_MS },
      ],
      settings: [],
      failures: [],
    }
  },
}
