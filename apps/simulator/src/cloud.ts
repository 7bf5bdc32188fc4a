/**
 * The vendor's side as one object: it records archives, uploads them to the customer's store, and reports them to the
 * customer's callback URL.
 */
import { X509Certificate } from "node:crypto"
import { readFileSync } from "node:fs"
import type { OaepHash } from "@unseal/archive/format/password"
import type { ArchiveStore } from "@unseal/archive/store/contract"
import type { Archive, RecordOptions, SentCallback, VendorStorage } from "./archive.ts"
import { type Run, runArchive } from "./archive-run.ts"
import { type ArchiveStatus, type CallbackForm, DEFAULT_CALLBACK_FORM } from "./callbacks/body.ts"
import { type CallbackSenderOptions, createCallbackSender, type Retry } from "./callbacks/send.ts"
import { DEFAULT_KEY_TEMPLATE } from "./upload.ts"

export {
  type Archive,
  DISORDERED_STATUSES,
  type RecordOptions,
  type SentCallback,
  USUAL_STATUSES,
  type VendorStorage,
} from "./archive.ts"

/** What a customer sets through the storage API: the upload target, and the certificate to encrypt for. */
export interface CloudStorage {
  /** The customer's certificate as the storage API takes it: PEM, or base64 of PEM. `null` leaves archives unencrypted. */
  readonly certificate: string | null
  /** The customer's upload target. */
  readonly store: ArchiveStore
  /** Whether an archive goes to the vendor's storage if its upload to the target fails. Default `false`. */
  readonly fallback?: boolean
}

export interface RecordingCloudOptions extends CloudStorage {
  /** Without it, `fallback` has no effect, and `available` archives are in the customer's store. */
  readonly vendorStorage?: VendorStorage
  /** The customer's callback URL, and how callbacks are sent there. Without it, none are sent. */
  readonly callbacks?: CallbackSenderOptions
  /** An OpenTok API key (digits) or a Vonage application id (UUID). */
  readonly projectId: string
  readonly form?: Partial<CallbackForm>
  readonly keyTemplate?: string
  readonly oaepHash?: OaepHash
  /** The transport stream that all recordings repeat. Default: 20 seconds of a composed archive. */
  readonly sample?: Uint8Array
  /** Called for each archive that is uploaded or fails, and for each callback that ends or is retried. */
  readonly observer?: {
    recorded?(archive: Archive, error: unknown): void
    delivered?(archive: Archive, callback: SentCallback): void
    retried?(archive: Archive, status: ArchiveStatus, retry: Retry): void
  }
}

/** An archive that is recorded until somebody stops it. */
export interface LiveRecording {
  readonly archive: Archive
  /** Ends the recording and begins its upload. `false` if it has already ended. */
  stop(): boolean
  /** The archive, as `record` resolves to it. */
  readonly ended: Promise<Archive>
}

export interface RecordingCloud {
  /** All archives by id, oldest first, including those still being recorded. */
  readonly archives: ReadonlyMap<string, Archive>
  /** Resolves when the archive is uploaded and all its callbacks have ended. If the upload fails, sends `failed` and rejects. */
  record(options: RecordOptions, signal?: AbortSignal): Promise<Archive>
  /** Starts an archive that somebody else stops. Throws `RangeError` for a size that no archive can have. */
  start(options: RecordOptions, signal: AbortSignal): LiveRecording
  /**
   * Records several archives in the order given, `parallelism` at a time (default 4). Neither a callback's retries nor a
   * failure delays the next recording; the promise rejects at the end with the first failure. An abort starts no more.
   */
  recordMany(
    recordings: Iterable<RecordOptions> | AsyncIterable<RecordOptions>,
    options?: { parallelism?: number; signal?: AbortSignal },
  ): Promise<Archive[]>
  /** Applies to every archive started from now on. Throws `RangeError`, and changes nothing, if the certificate is unusable. */
  setStorage(storage: CloudStorage): void
  /** Forgets an archive and its password, and deletes its copy in the vendor's storage. `false` if there is no such archive. */
  remove(id: string, signal: AbortSignal): Promise<boolean>
}

export function createRecordingCloud(options: RecordingCloudOptions): RecordingCloud {
  let storage = usable(options)
  const sample =
    options.sample ?? readFileSync(new URL("../media/composed-640x480-20s.mpegts", import.meta.url))
  const keyTemplate = options.keyTemplate ?? DEFAULT_KEY_TEMPLATE
  const form = { ...DEFAULT_CALLBACK_FORM, ...options.form }
  const sender = options.callbacks === undefined ? null : createCallbackSender(options.callbacks)
  const archives = new Map<string, Archive>()

  function begin(
    wanted: RecordOptions,
    signal = new AbortController().signal,
    stopped = Promise.resolve(),
  ): Run {
    const { vendorStorage, observer, oaepHash = "sha1", projectId } = options
    const context = {
      projectId,
      keyTemplate,
      form,
      sender,
      sample,
      oaepHash,
      vendorStorage,
      observer,
      ...storage,
    }
    const run = runArchive(context, wanted, stopped, signal)
    archives.set(run.archive.id, run.archive)
    return run
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
      const { archive, delivered } = begin(wanted, signal)
      await delivered
      return archive
    },
    start(wanted, signal) {
      const { promise: stopped, resolve } = Promise.withResolvers<void>()
      const { archive, delivered } = begin(wanted, signal, stopped)
      const ended = delivered.then(() => archive)
      ended.catch(() => {})
      return {
        archive,
        ended,
        stop() {
          if (archive.status !== "started" && archive.status !== "paused") return false
          archive.status = "stopped"
          resolve()
          return true
        },
      }
    },
    async recordMany(recordings, { parallelism = 4, signal } = {}) {
      const recorded: Archive[] = []
      const deliveries: Promise<unknown>[] = []
      const wanted = numbered(recordings)
      const lane = async (): Promise<void> => {
        for await (const [index, one] of wanted) {
          if (signal?.aborted) break
          const begun = (async () => begin(one, signal))()
          const delivered = begun.then((begun) => begun.delivered)
          // Awaited at the end. Until then a rejection must not count as unhandled.
          delivered.catch(() => {})
          deliveries.push(delivered)
          await begun
            .then(async (run) => {
              await run.recorded
              recorded[index] = run.archive
            })
            .catch(() => {})
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

/** One generator for all lanes, so that no item is taken twice. */
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
