/** Panels that several boards have. */
import type { Panel } from "@grafana/grafana-foundation-sdk/dashboard"
import { UID } from "./board.ts"
import { list } from "./panels.ts"
import { copied, gauge, type Labels } from "./promql.ts"
import { MOVES, REMEDIES_OF_DEAD_LETTERS, REMEDIES_OF_SUSPENSIONS } from "./words.ts"

/** What waits for the deployment, whose move it is, and what the move is. */
export function suspensions({
  width,
  height = 7,
  labels = {},
}: {
  readonly width: number
  readonly height?: number
  readonly labels?: Labels
}): Panel {
  const by = ["project", "side", "code"]
  const seconds = gauge("unseal_suspended_seconds", { labels, by })
  return list({
    title: "Suspended projects, and whose move it is",
    normal: "empty. A suspension of a minute that ends by itself is no trouble.",
    otherwise:
      "do what the row says. Archives of a suspended project wait without using up attempts, and go on by themselves when the trouble is over. `unseal queue status` shows the message of the last failure; `unseal queue resume --project ID` tries again at once.",
    runbook: ["UnsealSuspended"],
    unit: "seconds",
    width,
    height,
    none: "nothing is suspended",
    queries: [
      ["suspended for", copied(copied(seconds, "side", "who"), "code", "move")],
      [
        "archives held",
        copied(copied(gauge("unseal_suspended_archives", { labels, by }), "side", "who"), "code", "move"),
      ],
    ],
    columns: {
      project: { title: "Project", width: 150, opens: [UID.project, "project"] },
      side: { title: "Side", width: 100 },
      code: { title: "Trouble", width: 220 },
      "Value #A": {
        title: "For",
        unit: "seconds",
        width: 90,
        limits: { warn: 60, bad: 600, side: "above" },
      },
      "Value #B": { title: "Archives held", unit: "count", width: 110 },
      who: { title: "Whose move", words: MOVES, width: 200 },
      move: { title: "The move", words: REMEDIES_OF_SUSPENSIONS },
    },
  })
}

/** Dead letters by code, and what to do about each. */
export function deadLetters({
  width,
  height = 7,
}: {
  readonly width: number
  readonly height?: number
}): Panel {
  return list({
    title: "Dead letters by code, and what to do",
    normal: "empty.",
    otherwise:
      "each row is archives that are not decrypted and will not be without you. Mend the cause that the row names, then `unseal queue redrive --code CODE`. `unseal queue dead-letters` lists them with their messages. Only the newest 2,000 are counted.",
    runbook: ["UnsealDeadLetters"],
    unit: "count",
    width,
    height,
    none: "no dead letters",
    queries: [["archives", copied(`${gauge("unseal_dead_letters", { by: ["code"] })} > 0`, "code", "move")]],
    columns: {
      code: { title: "Code", width: 260 },
      Value: { title: "Archives", unit: "count", width: 100, limits: { bad: 1, side: "above" } },
      move: { title: "What to do", words: REMEDIES_OF_DEAD_LETTERS },
    },
  })
}
