/** What holds the queue back, a pause or the deployment's trouble, and how to end that by hand. */

import { counted } from "@unseal/archive/counted"
import { type Pause, pauseQueue, readPause, resumeQueue } from "@unseal/queue/pause"
import { resumeSuspended, type Suspension } from "@unseal/queue/suspension-state"
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
  await withQueue(async ({ connection, settings }) => {
    const pause = await pauseQueue(connection, settings.UNSEAL_QUEUE)
    if (options.json) process.stdout.write(`${JSON.stringify({ paused: pause })}\n`)
    else
      process.stdout.write(
        `paused ${describePause(pause)}: what runs goes on to its end, what comes is kept. "unseal queue resume" ends the pause\n`,
      )
  }, signal)
}

/**
 * `unseal queue resume`: ends a pause, unless suspensions are chosen, and suspensions. Their archives go back in line as soon as a worker
 * looks; if the trouble is still there, the first of them suspends the rest again.
 */
export async function resumeCommand(
  options: { readonly project?: string; readonly side?: string; readonly json?: true },
  signal: AbortSignal,
): Promise<void> {
  await withQueue(async ({ connection, settings }) => {
    const queue = settings.UNSEAL_QUEUE
    const { project, side } = options
    const endsPause = project === undefined && side === undefined
    const pause = endsPause ? await resumeQueue(connection, queue) : null
    const resumed = await resumeSuspended(connection, queue, { projectId: project, side })
    if (options.json) process.stdout.write(`${JSON.stringify({ resumed, pause })}\n`)
    else {
      if (pause !== null)
        process.stdout.write(`resumed the queue, which was paused ${describePause(pause)}\n`)
      for (const { projectId, side, held } of resumed)
        process.stdout.write(
          `resumed project ${projectId}, ${side}: ${counted(held, "archive goes", "archives go")} back in line\n`,
        )
    }
    if (!endsPause && (await readPause(connection, queue)) !== null)
      process.stderr.write(`the queue is paused; "unseal queue resume" without options ends that\n`)
    // Not a mistake: it may have ended by itself a moment ago.
    if (project !== undefined && resumed.length === 0)
      process.stderr.write(
        `project ${project} is not suspended${side === undefined ? "" : ` on that side`}\n`,
      )
    process.stderr.write(`${counted(resumed.length, "suspension")} ended\n`)
  }, signal)
}
