/** Every query of every board against a real Prometheus, on a real system in which everything happens that boards can show. */
import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { load } from "js-yaml"
import { afterAll, beforeAll, expect, test } from "vitest"
import { readBoards } from "../dashboards/files.ts"
import { takePicture } from "../dashboards/pictures.ts"
import { emptyQueries, resultsAt } from "../dashboards/results.ts"
import { KEYS_ARE_BACK, type Story, startStory } from "../dashboards/story.ts"
import { describedMetrics } from "../documents/metrics.ts"
import { type Prometheus, startPrometheus } from "../harness/prometheus.ts"

const ROOT = resolve(import.meta.dirname, "../..")

/** What stays empty in the story, and why. */
const MAY_BE_EMPTY: Readonly<Record<string, string>> = {}

/** With DASHBOARD_PICTURES, every board is drawn into this folder: in the greatest trouble, and at the end. */
const pictures = process.env.DASHBOARD_PICTURES

const now = () => Date.now() / 1_000
const boards = readBoards()
let prometheus: Prometheus
let story: Story
let from: number
let until: number
let worst: number
beforeAll(async () => {
  const rules = readFileSync(join(ROOT, "observability/prometheus/rules/unseal.yml"), "utf8")
  prometheus = await startPrometheus(1_000, { rules: load(rules) })
  story = await startStory(prometheus)
  from = now()
  await story.tell((chapter) => {
    if (chapter === KEYS_ARE_BACK) worst = now() - 1
    process.stderr.write(`${(now() - from).toFixed(0)} s: ${chapter}\n`)
  })
  until = now()
})
afterAll(async () => {
  await story?.close()
  await prometheus?.close()
})

test("no query of a board is empty, except those that are named here with the reason", async () => {
  const empty: string[] = []
  for (const board of boards.values())
    empty.push(...(await emptyQueries(board, prometheus, story.system.projectId, { from, until })))
  expect(empty.toSorted()).toEqual(Object.keys(MAY_BE_EMPTY).toSorted())
})

/** Metrics that the story leaves without a value, and why. */
const MAY_BE_UNSEEN: Readonly<Record<string, string>> = {
  unseal_blind_looks_total:
    "no bucket hides what is missing; test/end-to-end/stores/store-notices.test.ts counts it",
  unseal_connections_cut_total:
    "no sender is slow or malformed; apps/ingest/src/allowed-networks.test.ts counts it",
  unseal_console_actions_total: "the story has no console; the console's own tests count it",
  unseal_console_requests_total: "the story has no console",
  unseal_console_sign_ins_total: "the story has no console",
  unseal_projects_reloads_total:
    "no project changes; packages/service/src/projects/reloading.test.ts counts it",
  unseal_runs_stuck_total:
    "a run is stuck after ten minutes; test/end-to-end/pipeline/watchdog.test.ts counts it",
}

test("each metric in the code was seen by Prometheus, each counter and histogram with an event, except those named here", async () => {
  const unseen: string[] = []
  for (const { name, type } of describedMetrics()) {
    const series = type === "histogram" ? `${name}_count` : name
    const seen = `max_over_time(${series}[${Math.ceil(until - from) + 5}s])`
    const expression = type === "gauge" ? `count(${seen})` : `sum(${seen})`
    if (((await prometheus.query(expression)) ?? 0) === 0) unseen.push(name)
  }
  expect(unseen.toSorted()).toEqual(Object.keys(MAY_BE_UNSEEN).toSorted())
})

test.runIf(pictures)("pictures of the boards", async () => {
  for (const [folder, end] of [
    ["trouble", worst],
    ["end", until],
  ] as const)
    for (const board of boards.values()) {
      const time = { from, until: end }
      const results = await resultsAt(board, prometheus, story.system.projectId, time)
      await takePicture(join(pictures!, folder), board, results, time)
    }
})
