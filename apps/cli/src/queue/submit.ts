import { randomUUID } from "node:crypto"
import { utf8Of } from "@unseal/archive/format/text"
import { SMALL_FILE_LIMIT } from "@unseal/archive/small-file"
import { submit } from "@unseal/operations/submit"
import { createJobPayload } from "@unseal/queue/jobs/job"
import { readCallback } from "@unseal/vendor/callback"
import { env } from "../config.ts"
import { UsageError } from "../terminal/exit.ts"
import { withQueue } from "./connection.ts"
import { describeDuplicate } from "./duplicate.ts"
import { openSubmission, submissionFiles } from "./submission-files.ts"
import { type SubmissionSource, type SubmitOptions, submitMany } from "./submit-many.ts"

/**
 * `unseal submit`: enqueues archives by their callbacks. A single callback is treated as ingest does it, without the
 * authentication; anything else line by line.
 */
export async function submitCommand(
  paths: readonly string[],
  options: SubmitOptions,
  signal: AbortSignal,
): Promise<void> {
  const files = await submissionFiles(paths)
  const [file] = files
  const isOne = files.length === 1 && !file!.isFound && !options.dryRun && options.rejects === undefined
  if (!isOne) return submitMany(files.map(sourceOf), options, signal)
  const { callback, source } = await peek(sourceOf(file!), signal)
  if (callback === null) return submitMany([source], options, signal)
  await submitCallback(callback, file!.path, options, signal)
}

const sourceOf = (file: SubmissionSource["file"]): SubmissionSource => ({
  file,
  open: (signal) => openSubmission(file, signal),
})

/** The JSON object in a source, if the source holds nothing else; and the source, still to be read. */
async function peek(
  source: SubmissionSource,
  signal: AbortSignal,
): Promise<{ callback: object | null; source: SubmissionSource }> {
  const reading = source.open(signal)
  const head: Buffer[] = []
  let bytes = 0
  let isWhole = false
  while (bytes <= SMALL_FILE_LIMIT && !isWhole) {
    const { value, done } = await reading.next()
    if (done) isWhole = true
    else bytes += head[head.push(value) - 1]!.length
  }
  async function* open() {
    yield* head.splice(0)
    yield* reading
  }
  return { callback: isWhole ? objectIn(Buffer.concat(head)) : null, source: { ...source, open } }
}

function objectIn(content: Buffer): object | null {
  try {
    const json: unknown = JSON.parse(utf8Of(content).toString())
    const isObject = typeof json === "object" && json !== null && !Array.isArray(json)
    // A page of the vendor's list, or a line of a log, is not itself a callback.
    return isObject && ("id" in json || "status" in json || Object.keys(json).length === 0) ? json : null
  } catch {
    return null
  }
}

async function submitCallback(
  json: object,
  path: string,
  options: SubmitOptions,
  signal: AbortSignal,
): Promise<void> {
  const wanted = (options.project ?? env.UNSEAL_PROJECT_ID)?.toLowerCase() || undefined
  const named = readCallback(json)
  if (wanted !== undefined && "projectId" in named && named.projectId !== wanted)
    throw new UsageError(
      `the callback belongs to project ${named.projectId}, but ${options.project === undefined ? "UNSEAL_PROJECT_ID" : "--project"} is ${wanted}: give --project ${named.projectId} if that one is meant`,
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
    ...(options.lane === "bulk" && { lane: "bulk" }),
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
