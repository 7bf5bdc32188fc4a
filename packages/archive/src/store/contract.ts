/**
 * What a store must do for an archive to be read from it or written to it. The comments are the contract: one conformance
 * suite (test/conformance) holds every adapter to them, on real servers.
 *
 * Errors, for every method: `ERR_STORE_DENIED` (access denied, or no such bucket, container or directory),
 * `ERR_STORE_UNAVAILABLE` (unreachable, timeout, 5xx, a short or malformed answer, credentials that can't be had at the
 * moment), `ERR_STORE_BUSY` (too many requests, whatever the status). An adapter translates its SDK's errors once, with
 * `cause`, and makes one attempt; `withRequestLimit` (limited.ts) adds flow control, and `withRetries` (retry.ts) the request
 * layer's retries. An abort of `signal` rejects with `signal.reason`, whatever the SDK made of it.
 */
import type { ByteRange } from "../format/parts.ts"

/** Exactly one version of an object. */
export interface StoredObject {
  readonly key: string
  /** Bytes. */
  readonly size: number
  /** Names the version: two versions of a key never share it. Comparable only within one store. */
  readonly etag: string
  /** As it was written: names in lower case with dashes, values in printable ASCII. Empty if the store keeps none. */
  readonly metadata: Readonly<Record<string, string>>
}

/** An object whose first bytes are on their way. */
export interface OpenedObject {
  readonly object: StoredObject
  /** As many of its bytes as were asked for, or all there are, as `read` gives them. To be iterated once at most. */
  readonly head: AsyncIterable<Uint8Array>
  /** Gives up a `head` that nobody has begun to read. */
  close(): void
}

export interface ArchiveSource {
  /** For messages and logs: the store's URL without credentials or query, e.g. `s3://bucket/prefix`. */
  readonly location?: string
  /**
   * The current version of `key`, or `null` if there is none, or none that may be seen (see `missingPermission`). A missing bucket is
   * `ERR_STORE_DENIED`, never `null`, and so are credentials that are wrong and an object that is there and denied.
   */
  stat(key: string, signal: AbortSignal): Promise<StoredObject | null>
  /**
   * The permission without which the last `null` of `stat` or `open` does not prove that nothing is there; `null` if it does.
   * Some stores deny the look at a missing object to whoever may not list them. Absent where that can't be.
   */
  missingPermission?(): string | null
  /**
   * `stat`, and a `read` of the first `length` bytes (1 and more) of the version that it found: in one request, where the store
   * answers both at once. `signal` ends the read as well. Nothing is lost if the head is read late, or not at all.
   */
  open(key: string, length: number, signal: AbortSignal): Promise<OpenedObject | null>
  /**
   * The bytes of `range` (not empty, within the object) of exactly the version that `object` names, as they arrive.
   * A chunk is the consumer's until it asks for the next one: what is kept longer must be copied. The iterable ends after exactly the bytes asked for, or throws:
   * `ERR_OBJECT_CHANGED` if another version has replaced it, `ERR_OBJECT_NOT_FOUND` if none is, `ERR_OBJECT_ARCHIVED` if it
   * must be restored from an archival storage class first (`open` throws this, too), `ERR_STORE_UNAVAILABLE` if the answer is short or is not the range asked for. Leaving the loop early releases the connection.
   */
  read(object: StoredObject, range: ByteRange, signal: AbortSignal): AsyncIterable<Uint8Array>
}

/** What a store answered for one part: compared as a whole when an upload is resumed. */
export interface WrittenPart {
  /** Bytes. */
  readonly size: number
  /** Names the content as the store sees it (an ETag, a checksum): equal only if the part was not written anew since. Printable ASCII. */
  readonly tag: string
}

export interface CreateOptions {
  /** Resumes the upload that this token names instead of beginning one. `ERR_UPLOAD_GONE` if the store no longer has it. */
  readonly token?: string
  readonly contentType: string
  readonly metadata: Readonly<Record<string, string>>
  /** What `complete` does when the key holds another object by then: `fail` refuses, `replace` replaces it. */
  readonly existing: "fail" | "replace"
  /** Called with the size of what has left of a part, while it leaves: a store that takes parts at once need not. */
  readonly moved?: (bytes: number) => void
}

export interface ArchiveSink {
  /** Bytes in every part but the last of a new object of `size` bytes: a multiple of `PART_UNIT` within the store's limits. */
  partSizeFor(size: number): number
  /**
   * Begins, or resumes by `token`, an object of `size` bytes (0 is allowed). Nothing is visible under `key` until
   * `complete`, which makes the whole object visible at once.
   */
  create(key: string, size: number, options: CreateOptions, signal: AbortSignal): Promise<PartWriter>
}

/** One object on its way into a store. Parts may be written in any order, in parallel, and again. */
export interface PartWriter {
  /** Resumes this upload in another process. Holds no secret. Printable ASCII. */
  readonly token: string
  /** Whether what is written outlives this process, so that another one can go on by `token`. */
  readonly resumable: boolean
  /** Whether the bodies of parts are in use until the upload ends. Else a body is the caller's again when its write has succeeded. */
  readonly keepsBodies: boolean
  /** Bytes in every part but the last, as `partSizeFor` gave it when this upload was begun; 0.1.0 had another unit. */
  readonly partSize: number
  /** The parts that the store holds already, by number. */
  written(signal: AbortSignal): Promise<ReadonlyMap<number, WrittenPart>>
  /**
   * Writes part `number`, 1 and up; a part written before is replaced. `body` is not changed. After a failure it may still be read, for as long as a file system that does not answer likes:
   * its memory must not be used for anything else.
   * `crc32` is the body's (ISO 3309, as `zlib.crc32`): the store verifies it where it can, and the adapter where it can't.
   */
  writePart(
    number: number,
    body: readonly Uint8Array[],
    crc32: number,
    signal: AbortSignal,
  ): Promise<WrittenPart>
  /**
   * Makes the object visible from exactly `parts`, 1 to n without a gap, whose sizes add up to the object's size.
   * An ambiguous answer is settled by reading the destination back: an object of this size with this metadata is ours.
   * With `existing: "fail"`, `ERR_DESTINATION_EXISTS` if the key holds an object that is not ours: it is left as it was.
   */
  complete(parts: ReadonlyMap<number, WrittenPart>, signal: AbortSignal): Promise<StoredObject>
  /** Removes what was written and ends the upload, also one that never began or ended already. Does not touch the visible object. */
  abort(): Promise<void>
}

/** An upload that was begun and neither completed nor aborted. */
export interface OpenUpload {
  readonly key: string
  /** For `abortUpload`. The writer's token begins with it: a listing does not tell everything that the writer's holds. */
  readonly token: string
  readonly startedAt: Date
}

/** A store as the pipeline and the janitor see it. */
export interface ArchiveStore extends ArchiveSource, ArchiveSink {
  /** Open uploads under the store's prefix, oldest first where the store can tell; of one key, if it is given. */
  openUploads(signal: AbortSignal, key?: string): AsyncIterable<OpenUpload>
  /** Ends an upload found by `openUploads`; no error if it is gone already. */
  abortUpload(upload: OpenUpload, signal: AbortSignal): Promise<void>
  /** Removes the visible object under `key`, its metadata with it; no error if there is none. Open uploads are not touched. */
  remove(key: string, signal: AbortSignal): Promise<void>
  /** For messages and logs: the store's URL without credentials or query, e.g. `s3://bucket/prefix`. */
  readonly location: string
}
