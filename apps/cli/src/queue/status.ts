import { counted } from "@unseal/archive/counted"
import { readQueueOverview } from "@unseal/operations/queue-overview"
import { Unaccounted } from "../terminal/exit.ts"
import { bytes } from "../terminal/progress.ts"
import { sayAbsent } from "./absent.ts"
import { withQueue } from "./connection.ts"
import { describePause, describeSuspension } from "./suspensions.ts"

/** `unseal queue status`: shows how many jobs are in each state, and whether all accepted jobs are accounted for. */
export async function queueStatusCommand(
  options: { readonly json?: true; readonly check?: true },
  signal: AbortSignal,
): Promise<void> {
  await withQueue(async (access) => {
    const { exists, status, accounts, backlog, suspensions, pause } = await readQueueOverview(access)
    const { accepted, committed, deadLetters, live, discarded, missing } = accounts
    if (!exists) sayAbsent(access.queue)
    if (options.json)
      process.stdout.write(
        `${JSON.stringify({ ...status, backlog, accounts, suspensions, paused: pause })}\n`,
      )
    else {
      const { failed, ...jobs } = status.jobs
      const rows = [...Object.entries(jobs), ["dead letters", failed] as const]
      const { live: liveLane, bulk } = status.lanes
      for (const [state, count] of rows) {
        const inLanes = state === "waiting" && bulk.waiting > 0
        const lanes = inLanes ? `, ${liveLane.waiting} live and ${bulk.waiting} bulk` : ""
        process.stdout.write(`${state.padEnd(14)} ${count}${lanes}\n`)
      }
      process.stdout.write(
        `${"oldest waits".padEnd(14)} ${status.oldestWaitingSeconds.toFixed(0)} s${bulk.waiting > 0 ? `, bulk ${bulk.oldestWaitingSeconds.toFixed(0)} s` : ""}\n`,
      )
      const { waitingBytes, waitingBulkBytes, activeBytes, delayedBytes } = backlog
      const ofBulk = waitingBulkBytes > 0 ? ` (${bytes(waitingBulkBytes)} of them bulk)` : ""
      const parts = [
        `${bytes(waitingBytes)} waiting${ofBulk}`,
        `${bytes(activeBytes)} active`,
        `${bytes(delayedBytes)} delayed`,
      ]
      process.stdout.write(`${"backlog".padEnd(14)} ${parts.join(", ")}\n`)
      const sum = `${committed} committed + ${counted(deadLetters, "dead letter")} + ${live} live`
      const rest = [[discarded, "discarded"] as const, [missing, "missing"] as const]
        .filter(([count]) => count !== 0)
        .map(([count, name]) => ` + ${count} ${name}`)
      process.stdout.write(`${"accepted".padEnd(14)} ${accepted} = ${sum}${rest.join("")}\n`)
      if (pause !== null)
        process.stdout.write(
          `${"paused".padEnd(14)} ${describePause(pause)}: nothing begins until "unseal queue resume"\n`,
        )
      for (const suspension of suspensions) process.stdout.write(describeSuspension(suspension))
    }
    if (options.check && missing !== 0)
      throw new Unaccounted(
        missing > 0
          ? `${counted(missing, "accepted archive is", "accepted archives are")} missing: a job was removed by hand, or Redis has lost it. "unseal archives reconcile" finds what is not at its destination`
          : `${counted(-missing, "job was", "jobs were")} never counted as accepted: something other than Unseal added them, or Redis has lost its counters`,
      )
  }, signal)
}
