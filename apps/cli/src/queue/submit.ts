import { randomUUID } from "node:crypto"
import { submit } from "@unseal/operations/submit"
import { createJobPayload } from "@unseal/queue/jobs/job"
import { readCallback } from "@unseal/vendor/callback"
import { readJsonFile } from "../archives/password-options.ts"
import { env } from "../config.ts"
import { UsageError } from "../terminal/exit.ts"
import { withQueue } from "./connection.ts"
import { describeDuplicate } from "./duplicate.ts"

/** `unseal submit callback.json`: does what ingest does with a callback, without its authentication. */
export async function submitCommand(
  path: string,
  options: { readonly project?: string; readonly again?: true; readonly json?: true },
  signal: AbortSignal,
): Promise<void> {
  const json = await readJsonFile(path, signal)
  const wanted = (options.project ?? env.UNSEAL_PROJECT_ID)?.toLowerCase() || undefined
  const named = readCallback(json)
  if (wanted !== undefined && "projectId" in named && named.projectId !== wanted)
    throw new UsageError(
      `the callback is of project ${named.projectId}, and ${options.project === undefined ? "UNSEAL_PROJECT_ID" : "--project"} is ${wanted}: give --project ${named.projectId} if that one is meant`,
    )
  const callback = wanted === undefined ? named : readCallback(json, wanted)
  const print = (result: Record<string, string>, line: string) =>
    void process.stdout.write(`${options.json ? JSON.stringify(result) : line}\n`)
  if ("ignored" in callback) {
    const { archiveId = "" } = callback
    return print({ outcome: "ignored", reason: callback.ignored, archiveId }, `ignored: ${callback.ignored}`)
  }
  const projectId = wanted ?? callback.projectId
  if (projectId === undefined) throw new UsageError(`${path} does not name one project: give --project ID`)
  const payload = createJobPayload({
    projectId,
    archiveId: callback.archiveId,
    encryptedPassword: callback.encryptedPassword,
    status: callback.status,
    ...(callback.size === undefined ? {} : { size: callback.size }),
    ...(callback.sha256sum === undefined ? {} : { sha256sum: callback.sha256sum }),
    ...(callback.url === undefined ? {} : { url: callback.url }),
    receivedAt: new Date().toISOString(),
    nonce: randomUUID(),
  })
  await withQueue(
    async (access) => {
      const { outcome, jobId, of } = {
        of: undefined,
        ...(await submit(access, payload, options.again === true)),
      }
      const what = of && describeDuplicate(of)
      if (options.json)
        process.stdout.write(
          `${JSON.stringify({ outcome, jobId, archiveId: callback.archiveId, ...(of && { state: of.state, since: of.since }) })}\n`,
        )
      else process.stdout.write(`${outcome} ${jobId}${what === undefined ? "" : `: ${what}`}\n`)
    },
    signal,
    { enqueues: true },
  )
}
