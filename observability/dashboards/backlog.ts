/** What waits, in archives, bytes and seconds: on the overview and on the queue's board. */
import type { Panel } from "@grafana/grafana-foundation-sdk/dashboard"
import { UID } from "./board.ts"
import { IN_TIME_SECONDS } from "./objectives.ts"
import { BLUE, GREEN, graph, PURPLE, YELLOW } from "./panels.ts"
import { gauge } from "./promql.ts"

/** The same color for a state on every board. */
const STATES = { waiting: BLUE, active: GREEN, delayed: PURPLE, suspended: YELLOW }

export const backlog = (): readonly Panel[] => [
  graph({
    title: "Archives in the queue",
    normal: "waiting goes back to zero between bursts.",
    otherwise:
      "waiting grows: more workers help. suspended grows: only ending the trouble helps. delayed: archives whose objects are not there yet, or that are tried again later.",
    runbook: ["UnsealOldestWait"],
    more: UID.queue,
    unit: "count",
    width: 8,
    stacked: true,
    colors: STATES,
    queries: [
      [
        "{{state}}",
        gauge("unseal_queue_jobs", {
          labels: { state: ["waiting", "active", "delayed", "suspended"] },
          by: ["state"],
        }),
      ],
    ],
  }),
  graph({
    title: "Bytes in the queue",
    normal: "as above, in bytes. The autoscaler follows waiting and active.",
    otherwise: "it grows while the workers are busy: they are too few. docs/scaling.md has the arithmetic.",
    more: UID.worker,
    unit: "bytes",
    width: 8,
    stacked: true,
    colors: STATES,
    queries: [["{{state}}", gauge("unseal_queue_backlog_bytes", { by: ["state"] })]],
  }),
  graph({
    title: "Age of the oldest live archive",
    normal: "below the dashed line. Bulk archives do not count: they wait for live ones.",
    otherwise:
      "unfinished is far above waiting: it is not workers that are missing; something is suspended, or an object did not arrive.",
    runbook: ["UnsealOldestWait"],
    more: UID.queue,
    unit: "seconds",
    width: 8,
    limits: { bad: IN_TIME_SECONDS, side: "above" },
    queries: [
      ["waiting for a worker", gauge("unseal_queue_oldest_seconds")],
      ["unfinished", gauge("unseal_queue_oldest_unfinished_seconds")],
    ],
  }),
]
