/** What the deployment's trouble holds back, and how to end that by hand. */
import { resumeSuspended, type Suspension } from "@unseal/queue/suspension-state"
import { withQueue } from "./queue-connection.ts"

/** One suspension in two lines: what is held and since when, why, and what to do about it. */
export function describeSuspension(suspension: Suspension): string {
  const { projectId, side, code, since, nextProbeAt, held, reason, remedy } = suspension
  const probe = nextProbeAt === null ? "probed now" : `next probe ${nextProbeAt}`
  return (
    `suspended      project ${projectId}, ${side}: ${code} since ${since}, ${probe}, ${held} held back\n` +
    `               ${reason}\n               ${remedy}\n`
  )
}

/**
 * `unseal queue resume`: ends suspensions now. Their archives go back in line as soon as a worker looks; if the trouble is still there,
 * the first of them suspends the rest again.
 */
export async function resumeCommand(options: {
  readonly project?: string
  readonly side?: string
  readonly json?: true
}): Promise<void> {
  await withQueue(async ({ connection, settings }) => {
    const queue = settings.UNSEAL_QUEUE
    const { project, side } = options
    const resumed = await resumeSuspended(connection, queue, { projectId: project, side })
    if (options.json) process.stdout.write(`${JSON.stringify({ resumed })}\n`)
    else
      for (const { projectId, side, held } of resumed)
        process.stdout.write(`resumed project ${projectId}, ${side}: ${held} archives go back in line\n`)
    // Not a mistake: it may have ended by itself a moment ago.
    if (project !== undefined && resumed.length === 0)
      process.stderr.write(
        `project ${project} is not suspended${side === undefined ? "" : ` on that side`}\n`,
      )
    process.stderr.write(`${resumed.length} ${resumed.length === 1 ? "suspension" : "suspensions"} ended\n`)
  })
}
