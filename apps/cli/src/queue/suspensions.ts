/** What holds the queue back, a pause or a trouble of the deployment, and how to end that by hand. */

import { counted } from "@unseal/archive/counted"
import { resume } from "@unseal/operations/resume"
import { type Pause, pauseQueue } from "@unseal/queue/pause"
import type { Suspension } from "@unseal/queue/suspension/state"
import { withQueue } from "./connection.ts"

/** One suspension in two lines: what is held and since when, why, and what to do about it. */
export function describeSuspension(suspension: Suspension): string {
  const { projectId, side, code, since, nextProbeAt, held, reason, remedy } = suspension
  const probe = nextProbeAt === null ? "probed now" : `next probe ${nextProbeAt}`
  return (
    `suspended      project ${projectId}, ${side}: ${code} since ${since}, ${probe}, ${held} held back\n` +
    `               ${reason}\n               ${remedy}\n`
  )
}

/** Since when the queue is paused, if that is known. */
export const describePause = ({ since }: Pause): string =>
  since === null ? "by another tool" : `since ${since}`

/** `unseal queue pause`: nothing begins from now on. */
export async function pauseCommand(options: { readonly json?: true }, signal: AbortSignal): Promise<void> {
  await withQueue(async ({ connection, queue }) => {
    const pause = await pauseQueue(connection, queue)
    if (options.json) process.stdout.write(`${JSON.stringify({ paused: pause })}\n`)
    else
      process.stdout.write(
        `paused ${describePause(pause)}: running jobs finish, new callbacks are kept. "unseal queue resume" ends the pause\n`,
      )
  }, signal)
}

/** `unseal queue resume`: ends the selected suspensions or, without a selection, all of them and the pause. */
export async function resumeCommand(
  options: { readonly project?: string; readonly side?: string; readonly json?: true },
  signal: AbortSignal,
): Promise<void> {
  await withQueue(async (access) => {
    const { project, side } = options
    const { endedPause, suspensions, pause } = await resume(access, { projectId: project, side }, signal)
    if (options.json) process.stdout.write(`${JSON.stringify({ resumed: suspensions, pause: endedPause })}\n`)
    else {
      if (endedPause !== null)
        process.stdout.write(`resumed the queue, which was paused ${describePause(endedPause)}\n`)
      for (const { projectId, side, held } of suspensions)
        process.stdout.write(
          `resumed project ${projectId}, ${side}: ${counted(held, "archive goes", "archives go")} back in line\n`,
        )
    }
    if (pause !== null)
      process.stderr.write(`the queue is paused; "unseal queue resume" without options ends the pause\n`)
    // Not a mistake: it may have ended by itself a moment ago.
    if (project !== undefined && suspensions.length === 0)
      process.stderr.write(
        `project ${project} is not suspended${side === undefined ? "" : ` on that side`}\n`,
      )
    process.stderr.write(`${counted(suspensions.length, "suspension")} ended\n`)
  }, signal)
}
