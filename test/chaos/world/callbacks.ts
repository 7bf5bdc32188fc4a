/** The vendor's callbacks, each sent until its answer is final. */
import { callbackBody } from "@unseal/simulator/callbacks/body"
import { createCallbackSender } from "@unseal/simulator/callbacks/send"
import type { History } from "../history.ts"
import { SIGNATURE_SECRET } from "../settings.ts"
import type { Tracked } from "./archives.ts"
import type { Member } from "./members.ts"

/** The outcome of one callback. */
export interface Answered {
  readonly archive: Tracked
  readonly accepted: boolean
  readonly jobId: string | undefined
  readonly outcome: string | undefined
  /** Time until the first answer. */
  readonly ms: number
}

/** What the vendor reports about an archive, in callbacks and in its API. */
export const subjectOf = ({ projectId, archiveId, encryptedPassword, size }: Tracked) => ({
  id: archiveId,
  projectId,
  sessionId: "chaos",
  name: "chaos",
  createdAt: Date.now(),
  reason: "",
  url: null,
  recording: { size, encryptedPassword },
  sha256: null,
})

/** Sends an archive's callback to an ingest. Adds each answer to `answers`. */
export function createCaller(
  history: History,
  answers: Answered[],
): (archive: Tracked, ingest: Member) => Promise<Answered> {
  const senders = new Map<string, ReturnType<typeof createCallbackSender>>()

  function senderTo(ingest: Member, projectId: string) {
    const name = `${ingest.name} ${projectId}`
    const sender =
      senders.get(name) ??
      createCallbackSender({
        url: `http://127.0.0.1:${ingest.ports.http}/callbacks/${projectId}`,
        signatureSecret: SIGNATURE_SECRET,
        timeScale: 0.05,
      })
    senders.set(name, sender)
    return sender
  }

  return async (archive, ingest) => {
    const startedAt = performance.now()
    const body = callbackBody(subjectOf(archive), "uploaded")
    const sending = senderTo(ingest, archive.projectId).send(body, AbortSignal.timeout(300_000))
    await sending.firstAttempt
    const ms = performance.now() - startedAt
    const { outcome, attempts, answer } = await sending.delivery
    const accepted = outcome === "accepted"
    const told = accepted ? (JSON.parse(answer) as { jobId?: string; outcome?: string }) : {}
    history.add({
      ...{ kind: "callback", archiveId: archive.archiveId, ingest: ingest.name },
      ...{ outcome, attempts, ms },
    })
    const answered = { archive, accepted, jobId: told.jobId, outcome: told.outcome, ms }
    answers.push(answered)
    return answered
  }
}
