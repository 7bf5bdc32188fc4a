/** The results of a board's queries, as Grafana would ask a real Prometheus for them. */
import type { Prometheus, Series } from "../harness/prometheus.ts"
import { filled } from "./expression.ts"
import { type Board, shownIn } from "./files.ts"
import { type Results, resultKey, type Time } from "./page.ts"

/** Seconds between two points. */
const STEP = 2

/** With these variables, and what Grafana puts in for a scrape every second. */
const valuesFor = (projectId: string, { from, until }: Time) => ({
  ...{ namespace: ".*", ingest: ".*", worker: ".*", project: projectId },
  ...{ __rate_interval: "15s", __range: `${Math.ceil(until - from)}s` },
})

/** For a picture: over the whole time, and an instant query at its end alone. */
export async function resultsAt(
  board: Board,
  prometheus: Prometheus,
  projectId: string,
  time: Time,
): Promise<Results> {
  const results = new Map<string, readonly Series[]>()
  for (const panel of shownIn(board))
    for (const { refId, expr, instant } of panel.targets!) {
      const query = filled(expr, valuesFor(projectId, time))
      const from = instant ? time.until : time.from
      results.set(
        resultKey(panel, refId),
        await prometheus.range(query, { from, until: time.until, step: STEP }),
      )
    }
  return results
}

/** The queries that never had a value, as `BOARD: PANEL: LEGEND`. */
export async function emptyQueries(
  board: Board,
  prometheus: Prometheus,
  projectId: string,
  time: Time,
): Promise<string[]> {
  const empty: string[] = []
  for (const panel of shownIn(board))
    for (const { expr, legendFormat } of panel.targets!) {
      const query = filled(expr, valuesFor(projectId, time))
      const series = await prometheus.range(query, { ...time, step: STEP })
      if (!series.some(({ points }) => points.length > 0))
        empty.push(`${board.uid}: ${panel.title}: ${legendFormat}`)
    }
  return empty
}
