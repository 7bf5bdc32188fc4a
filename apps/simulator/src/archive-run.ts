/** One archive's life: it is recorded, encrypted, uploaded to the customer's store or the vendor's, and reported by callbacks. */
import { type KeyObject, randomUUID } from "node:crypto"
import type { OaepHash } from "@unseal/archive/format/password"
import type { ArchiveStore } from "@unseal/archive/store/contract"
import { untilAborted } from "@unseal/archive/waiting"
import {
  type Archive,
  type Mutable,
  type RecordOptions,
  type SentCallback,
  USUAL_STATUSES,
  type VendorStorage,
} from "./archive.ts"
import { type ArchiveStatus, type CallbackForm, callbackBody, USUAL_SETTINGS } from "./callbacks/body.ts"
import type { CallbackSender, Retry } from "./callbacks/send.ts"
import { makePlainRecording, makeRecording, type Recording } from "./recording/recording.ts"
import { newSessionId } from "./rest/session-id.ts"
import { archiveKey, PLAIN_KEY_TEMPLATE, uploadArchive } from "./upload.ts"

/** The cloud's settings when an archive begins. */
export interface RunContext {
  readonly projectId: string
  readonly keyTemplate: string
  readonly form: CallbackForm
  /** `null` sends no callbacks. */
  readonly sender: CallbackSender | null
  /** The transport stream to repeat. */
  readonly sample: Uint8Array
  readonly oaepHash: OaepHash
  readonly store: ArchiveStore
  /** `null` leaves the archive unencrypted. */
  readonly publicKey: KeyObject | null
  readonly fallback: boolean
  readonly vendorStorage: VendorStorage | undefined
  readonly observer:
    | {
        recorded?(archive: Archive, error: unknown): void
        delivered?(archive: Archive, callback: SentCallback): void
        retried?(archive: Archive, status: ArchiveStatus, retry: Retry): void
      }
    | undefined
}

export interface Run {
  readonly archive: Mutable<Archive>
  /** Resolves when the archive is uploaded and each callback has been tried. */
  readonly recorded: Promise<void>
  /** Resolves when all callbacks, retries included, have ended. */
  readonly delivered: Promise<void>
}

/** The statuses of an archive that is still being recorded. */
const GOING_ON: ReadonlySet<ArchiveStatus> = new Set(["started", "paused"])

function newArchive(
  wanted: RecordOptions,
  encrypted: boolean,
  { projectId, keyTemplate }: RunContext,
): Mutable<Archive> & { callbacks: SentCallback[] } {
  const id = randomUUID()
  const template = encrypted ? keyTemplate : PLAIN_KEY_TEMPLATE
  return {
    id,
    projectId,
    sessionId: wanted.sessionId ?? newSessionId(projectId),
    name: wanted.name ?? "",
    settings: { ...USUAL_SETTINGS, ...wanted.settings },
    createdAt: Date.now(),
    reason: wanted.reason ?? "",
    url: wanted.url ?? null,
    key: archiveKey(template, { projectId, archiveId: id }),
    tail: wanted.tail ?? "pkcs7",
    status: "started",
    recording: null,
    sha256: null,
    callbacks: [],
  }
}

/**
 * Starts an archive. Once `stopped` resolves, the recording ends and the upload begins. Aborting `signal` rejects both
 * promises with its reason. Throws `RangeError` for a size that no archive can have.
 */
export function runArchive(
  context: RunContext,
  wanted: RecordOptions,
  stopped: Promise<void>,
  signal: AbortSignal,
): Run {
  const { store, publicKey, fallback, vendorStorage, observer, sender, form, sample, oaepHash } = context
  const make = (): Recording => {
    const { size, exact = false, tail = "pkcs7" } = wanted
    if (publicKey === null) return makePlainRecording({ sample, size, exact })
    return makeRecording({ sample, publicKey, size, tail, exact, oaepHash })
  }
  const made = make()
  const archive = newArchive(wanted, publicKey !== null, context)
  const deliveries: Promise<void>[] = []

  async function uploadTo(
    store: ArchiveStore,
    { ciphertext, digests, ...recording }: Recording,
  ): Promise<void> {
    await uploadArchive(store, archive.key, recording.size, ciphertext, signal)
    archive.recording = recording
    archive.sha256 = digests()
  }

  async function keep({ store, urlOf }: VendorStorage, recording: Recording): Promise<"available"> {
    await uploadTo(store, recording)
    archive.inVendorStorage = true
    archive.url = urlOf(archive)
    return "available"
  }

  /** Uploads an archive that should reach `status`. Resolves to the status that it did reach. */
  async function upload(status: "uploaded" | "available"): Promise<ArchiveStatus> {
    if (status === "available" && wanted.url === undefined && vendorStorage !== undefined)
      return keep(vendorStorage, made)
    try {
      await uploadTo(store, made)
      return status
    } catch (error) {
      if (!fallback || vendorStorage === undefined || signal.aborted) throw error
      // A recording can be read only once, so the copy is encrypted again, under another password.
      return keep(vendorStorage, make())
    }
  }

  async function callBack(status: ArchiveStatus): Promise<void> {
    // A late `stopped` does not undo the upload.
    if (status !== "stopped" || archive.recording === null) archive.status = status
    if (sender === null) return
    const body = callbackBody(archive, status, form)
    const sendings = Array.from({ length: 1 + (wanted.duplicates ?? 0) }, () => {
      const sent: Mutable<SentCallback> = { status, body, delivery: null }
      archive.callbacks.push(sent)
      const { firstAttempt, delivery } = sender.send(body, signal, (retry) =>
        observer?.retried?.(archive, status, retry),
      )
      const ended = delivery.then((result) => {
        sent.delivery = result
        observer?.delivered?.(archive, sent)
      })
      // Awaited once everything is recorded. Until then a rejection must not count as unhandled.
      ended.catch(() => {})
      deliveries.push(ended)
      return firstAttempt
    })
    await Promise.all(sendings)
  }

  async function record(): Promise<void> {
    try {
      for (const status of wanted.statuses ?? USUAL_STATUSES) {
        if (!GOING_ON.has(status)) await untilAborted(stopped, signal)
        const stored = status === "uploaded" || status === "available"
        await callBack(stored && archive.recording === null ? await upload(status) : status)
      }
    } catch (error) {
      archive.reason ||= "the upload failed"
      if (!signal.aborted) await callBack("failed")
      observer?.recorded?.(archive, error)
      await Promise.allSettled(deliveries)
      throw error
    }
    observer?.recorded?.(archive, null)
  }

  const recorded = record()
  const delivered = recorded.then(async () => void (await Promise.all(deliveries)))
  // Awaited once somebody asks. Until then a rejection must not count as unhandled.
  delivered.catch(() => {})
  return { archive, recorded, delivered }
}
