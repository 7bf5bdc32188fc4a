/**
 * The vendor's side as one object: records archives, uploads them into the customer's store, and tells the customer's
 * callback URL about it.
 */
import { randomBytes, randomUUID, X509Certificate } from "node:crypto"
import { readFileSync } from "node:fs"
import type { OaepHash } from "@unseal/archive/format/password"
import type { ArchiveStore } from "@unseal/archive/store/contract"
import {
  type ArchiveStatus,
  type CallbackForm,
  type CallbackSubject,
  callbackBody,
  DEFAULT_CALLBACK_FORM,
} from "./callback-body.ts"
import { type CallbackSenderOptions, createCallbackSender, type Delivery } from "./callbacks.ts"
import { makePlainRecording, makeRecording, type Recording, type Tail } from "./recording.ts"
import { archiveKey, DEFAULT_KEY_TEMPLATE, PLAIN_KEY_TEMPLATE, uploadArchive } from "./upload.ts"

/** Where archives go, and under which certificate: what the storage API sets. */
export interface CloudStorage {
  /** The customer's certificate, as the storage API takes it: PEM, or base64 of PEM. `null`: archives are not encrypted. */
  readonly certificate: string | null
  /** The customer's upload target. */
  readonly store: ArchiveStore
  /** Whether an archive that can't be uploaded there goes to the vendor's storage instead. Default `false`. */
  readonly fallback?: boolean
}

/** The vendor's own storage, for archives that are `available` instead of `uploaded`. */
export interface VendorStorage {
  readonly store: ArchiveStore
  /** A new URL to download the archive's copy from. */
  urlOf(archive: Archive): string
}

export interface RecordingCloudOptions extends CloudStorage {
  /** Without it, `fallback` has no effect, and `available` archives are in the customer's store. */
  readonly vendorStorage?: VendorStorage
  /** The customer's callback URL and how callbacks are sent there. Without it, nothing is sent. */
  readonly callbacks?: CallbackSenderOptions
  /** An OpenTok API key (digits) or a Vonage application id (UUID). */
  readonly projectId: string
  readonly form?: Partial<CallbackForm>
  readonly keyTemplate?: string
  readonly oaepHash?: OaepHash
  /** The transport stream that all recordings repeat; by default 20 seconds of a composed archive. */
  readonly sample?: Uint8Array
  /** Told about each archive that is uploaded, or failed with an error, and each callback that has ended. */
  readonly observer?: {
    recorded?(archive: Archive, error: unknown): void
    delivered?(archive: Archive, callback: SentCallback): void
  }
}

export interface RecordOptions {
  /** Bytes, and how they are meant: see `RecordingOptions`. */
  readonly size: number
  readonly exact?: boolean
  /** Default `pkcs7`. */
  readonly tail?: Tail
  readonly name?: string
  /**
   * What happens, in the order in which it is called back; by default the vendor's usual one. The upload is made right
   * before the first `uploaded` or `available`, and not at all without one.
   */
  readonly statuses?: readonly ArchiveStatus[]
  /** How many times more each callback is sent, at the same time. Default 0. */
  readonly duplicates?: number
  /** The callbacks' `reason`, for `failed`. */
  readonly reason?: string
  /** The callbacks' `url`, for `available`; the object is then in the customer's store. */
  readonly url?: string
}

export const USUAL_STATUSES = ["started", "stopped", "uploaded"] as const satisfies ArchiveStatus[]
/** What the vendor says may happen with very small archives. */
export const DISORDERED_STATUSES = ["started", "uploaded", "stopped"] as const satisfies ArchiveStatus[]

export interface SentCallback {
  readonly status: ArchiveStatus
  /** The JSON as it was sent. */
  readonly body: string
  /** `null` until it has ended. */
  readonly delivery: Delivery | null
}

/** An archive as the cloud keeps it: what the customer may know, and the digests to compare a decryption with. */
export interface Archive extends CallbackSubject {
  readonly key: string
  readonly tail: Tail
  readonly status: ArchiveStatus
  readonly recording: Pick<Recording, "contentSize" | "size" | "encryptedPassword"> | null
  readonly callbacks: readonly SentCallback[]
  /** The object is in the vendor's storage, not in the customer's store. */
  readonly inVendorStorage?: true
}

export interface RecordingCloud {
  /** All archives by id, oldest first; those being recorded too. */
  readonly archives: ReadonlyMap<string, Archive>
  /** The archive, when it is uploaded and all of its callbacks have ended. Rejects if the upload fails, after calling back `failed`. */
  record(options: RecordOptions, signal?: AbortSignal): Promise<Archive>
  /**
   * Records several, `parallelism` at a time (default 4), in the order given. A callback that is being retried does not
   * hold up the next recording, nor does a failure, the first of which rejects in the end. An abort begins no more.
   */
  recordMany(
    recordings: Iterable<RecordOptions> | AsyncIterable<RecordOptions>,
    options?: { parallelism?: number; signal?: AbortSignal },
  ): Promise<Archive[]>
  /** For every archive that is begun from now on. `RangeError` if the certificate can't be used: nothing is changed then. */
  setStorage(storage: CloudStorage): void
  /** Forgets an archive, its password with it; a copy in the vendor's storage goes too. `false` if there is none. */
  remove(id: string, signal: AbortSignal): Promise<boolean>
}

/** Archives change while they are recorded, for this file only. */
type Mutable<T> = { -readonly [Name in keyof T]: T[Name] }

export function createRecordingCloud(options: RecordingCloudOptions): RecordingCloud {
  let storage = usable(options)
  const sample =
    options.sample ?? readFileSync(new URL("../media/composed-640x480-20s.mpegts", import.meta.url))
  const keyTemplate = options.keyTemplate ?? DEFAULT_KEY_TEMPLATE
  const form = { ...DEFAULT_CALLBACK_FORM, ...options.form }
  const sender = options.callbacks === undefined ? null : createCallbackSender(options.callbacks)
  const archives = new Map<string, Archive>()

  function newArchive(
    wanted: RecordOptions,
    encrypted: boolean,
  ): Mutable<Archive> & { callbacks: SentCallback[] } {
    const id = randomUUID()
    const template = encrypted ? keyTemplate : PLAIN_KEY_TEMPLATE
    return {
      id,
      projectId: options.projectId,
      sessionId: `2_${randomBytes(36).toString("base64url")}`,
      name: wanted.name ?? "",
      createdAt: Date.now(),
      reason: wanted.reason ?? "",
      url: wanted.url ?? null,
      key: archiveKey(template, { projectId: options.projectId, archiveId: id }),
      tail: wanted.tail ?? "pkcs7",
      status: "started",
      recording: null,
      sha256: null,
      callbacks: [],
    }
  }

  /** Resolves when the archive is uploaded and each callback has been tried; `delivered` when all of them have ended. */
  async function begin(
    wanted: RecordOptions,
    signal = new AbortController().signal,
  ): Promise<{ archive: Archive; delivered: Promise<unknown> }> {
    const { store, publicKey, fallback } = storage
    const { vendorStorage } = options
    const make = (): Recording => {
      const { size, exact = false, tail = "pkcs7" } = wanted
      if (publicKey === null) return makePlainRecording({ sample, size, exact })
      return makeRecording({ sample, publicKey, size, tail, exact, oaepHash: options.oaepHash ?? "sha1" })
    }
    const made = make()
    const archive = newArchive(wanted, publicKey !== null)
    archives.set(archive.id, archive)
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

    /** Gives what has become of an archive that was to be `status`. */
    async function upload(status: "uploaded" | "available"): Promise<ArchiveStatus> {
      if (status === "available" && wanted.url === undefined && vendorStorage !== undefined)
        return keep(vendorStorage, made)
      try {
        await uploadTo(store, made)
        return status
      } catch (error) {
        if (!fallback || vendorStorage === undefined || signal.aborted) throw error
        // A recording is read once: what was lost on its way is encrypted anew, under another password.
        return keep(vendorStorage, make())
      }
    }

    async function callBack(status: ArchiveStatus): Promise<void> {
      // A `stopped` that comes late does not undo the upload.
      if (status !== "stopped" || archive.recording === null) archive.status = status
      if (sender === null) return
      const body = callbackBody(archive, status, form)
      const sendings = Array.from({ length: 1 + (wanted.duplicates ?? 0) }, () => {
        const sent: Mutable<SentCallback> = { status, body, delivery: null }
        archive.callbacks.push(sent)
        const { firstAttempt, delivery } = sender.send(body, signal)
        const ended = delivery.then((result) => {
          sent.delivery = result
          options.observer?.delivered?.(archive, sent)
        })
        // Awaited when all is recorded; until then a rejection must not count as unhandled.
        ended.catch(() => {})
        deliveries.push(ended)
        return firstAttempt
      })
      await Promise.all(sendings)
    }

    try {
      for (const status of wanted.statuses ?? USUAL_STATUSES) {
        const stored = status === "uploaded" || status === "available"
        await callBack(stored && archive.recording === null ? await upload(status) : status)
      }
    } catch (error) {
      archive.reason ||= "the upload failed"
      if (!signal.aborted) await callBack("failed")
      options.observer?.recorded?.(archive, error)
      await Promise.allSettled(deliveries)
      throw error
    }
    options.observer?.recorded?.(archive, null)
    return { archive, delivered: Promise.all(deliveries) }
  }

  return {
    archives,
    setStorage(next) {
      storage = usable(next)
    },
    async remove(id, signal) {
      const archive = archives.get(id)
      if (archive?.inVendorStorage) await options.vendorStorage?.store.remove(archive.key, signal)
      return archives.delete(id)
    },
    async record(wanted, signal) {
      const { archive, delivered } = await begin(wanted, signal)
      await delivered
      return archive
    },
    async recordMany(recordings, { parallelism = 4, signal } = {}) {
      const recorded: Archive[] = []
      const deliveries: Promise<unknown>[] = []
      const wanted = numbered(recordings)
      const lane = async (): Promise<void> => {
        for await (const [index, one] of wanted) {
          if (signal?.aborted) break
          const begun = begin(one, signal)
          const delivered = begun.then((begun) => begun.delivered)
          // Awaited in the end; until then a rejection must not count as unhandled.
          delivered.catch(() => {})
          deliveries.push(delivered)
          await begun.then(
            ({ archive }) => {
              recorded[index] = archive
            },
            () => {},
          )
        }
      }
      const lanes = await Promise.allSettled(Array.from({ length: parallelism }, lane))
      const outcomes = [...lanes, ...(await Promise.allSettled(deliveries))]
      signal?.throwIfAborted()
      const failed = outcomes.find((outcome) => outcome.status === "rejected")
      if (failed !== undefined) throw failed.reason
      return recorded
    },
  }
}

/** One generator for all lanes, so that each takes what the others have not. */
async function* numbered<T>(items: Iterable<T> | AsyncIterable<T>): AsyncGenerator<[number, T]> {
  let index = 0
  for await (const item of items) yield [index++, item]
}

const usable = ({ store, certificate, fallback = false }: CloudStorage) => ({
  store,
  publicKey: certificate === null ? null : publicKeyOf(certificate),
  fallback,
})

function publicKeyOf(certificate: string) {
  const pem = certificate.includes("-----BEGIN ") ? certificate : Buffer.from(certificate, "base64")
  const { publicKey } = new X509Certificate(pem)
  if (publicKey.asymmetricKeyType !== "rsa")
    throw new RangeError(`the certificate holds a key of type ${publicKey.asymmetricKeyType}, not rsa`)
  return publicKey
}
