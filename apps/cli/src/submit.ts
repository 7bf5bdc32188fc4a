import { randomUUID } from "node:crypto"
import { createJobPayload } from "@unseal/queue/job"
import { createProducer } from "@unseal/queue/producer"
import { UsageError } from "./exit.ts"
import { readCallbackFile } from "./password-options.ts"
import { withQueue } from "./queue-connection.ts"

/** `unseal submit callback.json`: what ingest does with a callback, without its authentication. */
export async function submitCommand(
  path: string,
  options: { readonly project?: string; readonly json?: true },
): Promise<void> {
  const callback = await readCallbackFile(path, options.project?.toLowerCase())
  const print = (result: Record<string, string>, line: string) =>
    void process.stdout.write(`${options.json ? JSON.stringify(result) : line}\n`)
  if ("ignored" in callback) {
    const { archiveId = "" } = callback
    return print({ outcome: "ignored", reason: callback.ignored, archiveId }, `ignored: ${callback.ignored}`)
  }
  const projectId = options.project?.toLowerCase() ?? callback.projectId
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
  await withQueue(async ({ connection, settings }) => {
    const producer = createProducer({
      connection,
      queue: settings.UNSEAL_QUEUE,
      attempts: settings.UNSEAL_ATTEMPTS,
    })
    try {
      const { outcome, jobId } = await producer.enqueue(payload)
      print({ outcome, jobId, archiveId: callback.archiveId }, `${outcome} ${jobId}`)
    } finally {
      await producer.close()
    }
  })
}
