/**
 * What a store must do so that archives can be read from it or written to it. These comments are the contract. One conformance
 * suite (test/conformance) verifies it for every adapter, on real servers.
 *
 * Errors of every method: `ERR_STORE_DENIED` (access denied, or no such bucket, container or directory),
 * `ERR_STORE_UNAVAILABLE` (unreachable, timeout, 5xx, a short or malformed answer, credentials that are not available at the
 * moment), `ERR_STORE_BUSY` (too many requests, whatever the status). An adapter translates its SDK's errors once, with
 * `cause`, and makes one attempt. `withRequestLimit` (limited.ts) adds flow control, and `withRetries` (retry.ts) the request
 * layer's retries. An abort of `signal` rejects with `signal.reason`, whatever the SDK made of it.
 */
import type { ByteRange } from "../format/parts.ts"

/** Exactly one version of an object. */
export interface StoredObject {
  readonly key: string
  /** Bytes. */
  readonly size: number
  /** Identifies the version: two versions of a key never share it. Comparable only within one store. */
  readonly etag: string
  /** As written: names in lower case with dashes, values in printable ASCII. Empty if the store keeps none. */
  readonly metadata: Readonly<Record<string, string>>
  /** Only from `stat`, and only of an object that can't be read before it is restored. */
  readonly archival?: Archival
}

/** An object's archival storage class. */
export interface Archival {
  /** As the store calls it: `GLACIER`, `DEEP_ARCHIVE`, `Archive`. */
  readonly storageClass: string
  /** Whether it is on its way back, because somebody has asked for it. */
  readonly isRestoring: boolean
}

/** How archived objects come back. */
export interface RestoreOptions {
  /** `bulk`: as cheaply as the store can · `standard`: its usual way, which is faster if the store has two. Both take hours. */
  readonly tier: RestoreTier
  /** How long a restored copy stays readable, at stores that make temporary copies: at least a day. */
  readonly days: number
}

export type RestoreTier = "bulk" | "standard"

/** `asked`: the object will come back · `under-way`: it was on its way already · `readable`: it can be read now. */
export type Restoring = "asked" | "under-way" | "readable"

/** An object whose first bytes are on their way. */
export interface OpenedObject {
  readonly object: StoredObject
  /** The requested number of bytes, or all if the object is shorter, as from `read`. Can be iterated once. */
  readonly head: AsyncIterable<Uint8Array>
  /** Abandons a `head` that nobody has begun to read. */
  close(): void
}

export interface ArchiveSource {
  /** For messages and logs: the store's URL without credentials or query, e.g. `s3://bucket/prefix`. */
  readonly location?: string
  /**
   * The current version of `key`. `null` if there is none, or none that may be seen (see `missingPermission`). A missing bucket,
   * wrong credentials, and an existing object with denied access are `ERR_STORE_DENIED`, never `null`.
   */
  stat(key: string, signal: AbortSignal): Promise<StoredObject | null>
  /**
   * `null` if the last `null` of `stat` or `open` proves that the object is missing. Otherwise the permission whose lack makes it
   * inconclusive: some stores deny a look at a missing object to users who may not list. Absent for stores that never do.
   */
  missingPermission?(): string | null
  /**
   * Combines `stat` with a `read` of the first `length` bytes (at least 1) of the version found, in one request where the store
   * can do that. `signal` ends the read as well. The head may be read late, or not at all.
   */
  open(key: string, length: number, signal: AbortSignal): Promise<OpenedObject | null>
  /**
   * The bytes of `range` (not empty, within the object) of exactly the version that `object` names, as they arrive. A chunk is
   * the consumer's only until it requests the next one; copy what is kept longer. The iterable ends after exactly the requested
   * bytes, or throws: `ERR_OBJECT_CHANGED` if another version has replaced the object, `ERR_OBJECT_NOT_FOUND` if it is gone,
   * `ERR_OBJECT_ARCHIVED` if it must first be restored from an archival storage class (`open` throws this, too),
   * `ERR_STORE_UNAVAILABLE` for a short answer or another range. Leaving the loop early releases the connection.
   */
  read(object: StoredObject, range: ByteRange, signal: AbortSignal): AsyncIterable<Uint8Array>
}

/** A store's answer for one part. Compared as a whole when an upload is resumed. */
export interface WrittenPart {
  /** Bytes. */
  readonly size: number
  /** Identifies the content as the store sees it (an ETag, a checksum). Another write changes it. Printable ASCII. */
  readonly tag: string
}

export interface CreateOptions {
  /** Resumes the upload that this token names instead of beginning one. Throws `ERR_UPLOAD_GONE` if the store no longer has it. */
  readonly token?: string
  readonly contentType: string
  readonly metadata: Readonly<Record<string, string>>
  /** What `complete` does if the key holds another object by then: `fail` refuses, `replace` replaces it. */
  readonly existing: "fail" | "replace"
  /** Called with the number of bytes sent, while a part is sent. A store that takes parts at once need not call it. */
  readonly moved?: (bytes: number) => void
}

export interface ArchiveSink {
  /** The size of every part but the last, for a new object of `size` bytes: a multiple of `PART_UNIT` within the store's limits. */
  partSizeFor(size: number): number
  /**
   * Begins, or resumes by `token`, an object of `size` bytes (0 is allowed). Nothing is visible under `key` until
   * `complete`, which makes the whole object visible at once.
   */
  create(key: string, size: number, options: CreateOptions, signal: AbortSignal): Promise<PartWriter>
}

/** One object on its way into a store. Parts may be written in any order, in parallel, and again. */
export interface PartWriter {
  /** Another process can resume the upload with it. Holds no secret. Printable ASCII. */
  readonly token: string
  /** Whether what is written outlives this process, so that another can go on by `token`. */
  readonly resumable: boolean
  /** Whether the bodies of parts stay in use until the upload ends. Otherwise a body is free once its write has succeeded. */
  readonly keepsBodies: boolean
  /** The size of every part but the last, as `partSizeFor` returned it when this upload began. 0.1.0 had another unit. */
  readonly partSize: number
  /** The parts that the store already holds, by number. */
  written(signal: AbortSignal): Promise<ReadonlyMap<number, WrittenPart>>
  /**
   * Writes part `number`, counted from 1, or replaces it. Does not change `body`. After a failure `body` may still be read for
   * as long as an unresponsive file system takes, so its memory must not be reused. `crc32` is the body's (ISO 3309, as
   * `zlib.crc32`): the store verifies it where it can, otherwise the adapter does.
   */
  writePart(
    number: number,
    body: readonly Uint8Array[],
    crc32: number,
    signal: AbortSignal,
  ): Promise<WrittenPart>
  /**
   * Makes the object visible from exactly `parts`, 1 to n without a gap, whose sizes add up to the object's size. Settles an
   * ambiguous answer by reading the destination back: an object of this size with this metadata is ours. With
   * `existing: "fail"`, throws `ERR_DESTINATION_EXISTS` if the key holds another object, which stays as it is.
   */
  complete(parts: ReadonlyMap<number, WrittenPart>, signal: AbortSignal): Promise<StoredObject>
  /** Ends the upload and removes what was written, even if it never began or has already ended. Leaves the visible object alone. */
  abort(): Promise<void>
}

/** An upload that was begun, and neither completed nor aborted. */
export interface OpenUpload {
  readonly key: string
  /** For `abortUpload`. It is a prefix of the writer's token, which holds more than a listing knows. */
  readonly token: string
  readonly startedAt: Date
}

/** A store as the pipeline and the janitor see it. */
export interface ArchiveStore extends ArchiveSource, ArchiveSink {
  /** Open uploads under the store's prefix, or of one key. The oldest come first if the store knows their age. */
  openUploads(signal: AbortSignal, key?: string): AsyncIterable<OpenUpload>
  /** Ends an upload found by `openUploads`. No error if it is already gone. */
  abortUpload(upload: OpenUpload, signal: AbortSignal): Promise<void>
  /** Removes the visible object under `key` and its metadata. No error if there is none. Leaves open uploads alone. */
  remove(key: string, signal: AbortSignal): Promise<void>
  /**
   * Asks the store to make an archived `object` of `stat` readable. It stays the same version. Asking again is harmless. Throws
   * `ERR_OBJECT_NOT_FOUND` if it is gone. Absent for stores that archive nothing.
   */
  restore?(object: StoredObject, options: RestoreOptions, signal: AbortSignal): Promise<Restoring>
  /** For messages and logs: the store's URL without credentials or query, e.g. `s3://bucket/prefix`. */
  readonly location: string
}

/** A store with connections, which `close` releases. No call may follow it. */
export interface OpenedStore extends ArchiveStore {
  close(): Promise<void>
}
