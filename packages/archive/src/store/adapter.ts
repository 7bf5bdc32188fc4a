/** What adapters share among themselves. Users of a store need only `contract.ts` and `open.ts`. */
import { crc32 } from "node:zlib"
import { counted } from "../counted.ts"
import { UnsealError } from "../errors.ts"
import { PART_UNIT } from "../format/parts.ts"
import type { ArchiveSource, ArchiveStore, OpenedObject, StoredObject, WrittenPart } from "./contract.ts"

/** A finding about the store, for a log line or a metric. Sent when it is made, and when it changes. */
export type StoreNotice =
  /** The store's clock is this far ahead of this machine's (behind, if negative). Requests are signed by it from now on. */
  | { readonly what: "clock-skew"; readonly seconds: number }
  /** The bucket is in another region than configured. Requests are signed for it from now on. */
  | { readonly what: "other-region"; readonly region: string }
  /** A look at an object was denied, so it may or may not exist. Sent for each such look. */
  | { readonly what: "blind" }
  /** Aborting an upload is not permitted: its parts stay. */
  | { readonly what: "abort-denied"; readonly permission: string }
  /** Listing one key's uploads is not permitted: uploads that earlier runs left behind are not found. */
  | { readonly what: "uploads-denied"; readonly permission: string }

/** What `openStore` passes to every adapter. */
export interface AdapterOptions {
  /** The preferred part size. For each object the adapter adjusts it to the store's limits. */
  readonly partSizeBytes: number
  /** The environment, for settings that the store's SDK does not read itself. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** How long a connection may be silent before it is given up. */
  readonly idleTimeoutMs: number
  /** Used instead of the SDK's chain and the URL's profile. Only for S3. */
  readonly credentials?: S3Credentials | undefined
  /** Called with each notice. */
  readonly onNotice?: ((notice: StoreNotice) => void) | undefined
}

/** S3 credentials of one store. The SDK's chain belongs to the whole process, which may be the wrong scope. */
export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** 8 MiB as whole `PART_UNIT`s: a 4-hour archive of 12 GB has 1,431 parts, and eight parts in flight take 64 MiB. */
export const DEFAULT_PART_SIZE_BYTES = 11_156 * PART_UNIT

/** Longer than any healthy store is silent, and shorter than a job's lock. */
export const DEFAULT_IDLE_TIMEOUT_MS = 30_000

/** A store with connections, which `close` releases. No call may follow it. */
export interface OpenedStore extends ArchiveStore {
  close(): Promise<void>
}

/** The store's own name for `key`: below the prefix of the store's URL, if it has one. */
export const keyUnder = (prefix: string, key: string): string => (prefix === "" ? key : `${prefix}/${key}`)

/** Implements `ArchiveSource.open` with two requests, for stores that can't do it with one. */
export async function openInTwo(
  source: Pick<ArchiveSource, "stat" | "read">,
  key: string,
  length: number,
  signal: AbortSignal,
): Promise<OpenedObject | null> {
  const object = await source.stat(key, signal)
  if (object === null) return null
  const end = Math.min(length, object.size)
  // `read` sends nothing until its first piece is requested.
  const head = end === 0 ? nothing() : source.read(object, { start: 0, end }, signal)
  return { object, head, close() {} }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

/**
 * Tracks the markers of a listing's pages. `advance` returns where the next page begins, or `undefined` at the end. Throws
 * `ERR_STORE_UNAVAILABLE` if the store announces more, but gives no marker or a marker that was already used.
 */
export function createMarkers(listing: string) {
  const seen = new Set<string>([""])
  return {
    advance(isTruncated: boolean | undefined, marker: string | undefined): string | undefined {
      if (!isTruncated) return undefined
      const next = marker ?? ""
      if (seen.has(next))
        throw new UnsealError(
          "ERR_STORE_UNAVAILABLE",
          `${listing} does not advance: after ${counted(seen.size, "page")} the store says that there is more, but not where`,
        )
      seen.add(next)
      return next
    },
  }
}

/**
 * What is wrong with an answer's ETag, as a clause; `null` if it identifies one version byte for byte. A weak ETag is no use,
 * because `If-Match` never matches it.
 */
export function whatIsWrongWith(etag: string | undefined): string | null {
  const answered =
    !etag || etag === '""'
      ? "answered without an ETag"
      : etag.startsWith("W/")
        ? `answered with the weak ETag ${etag.slice(0, 100)}`
        : null
  return (
    answered &&
    `${answered}: something between here and the store, such as a proxy that compresses, changes bodies or validators, and must leave them alone`
  )
}

/** The CRC-32 of a body in pieces (ISO 3309, as `zlib.crc32`). */
export const crc32Of = (body: readonly Uint8Array[]): number =>
  body.reduce((sum, chunk) => crc32(chunk, sum), 0)

/** Bytes of a body in pieces. */
export const bytesOf = (body: readonly Uint8Array[]): number =>
  body.reduce((sum, chunk) => sum + chunk.length, 0)

/** The size of part `number` of an object of `size` bytes. Throws `RangeError` if the object has no such part. */
export function partBytes(number: number, size: number, partSize: number): number {
  const start = (number - 1) * partSize
  if (!Number.isInteger(number) || number < 1 || start >= size)
    throw new RangeError(`part ${number} of an object of ${size} bytes in parts of ${partSize}`)
  return Math.min(partSize, size - start)
}

/** Throws `RangeError` unless `body` has `expectedBytes` bytes. `label` names it, e.g. `part 2 of s3://bucket/key`. */
export function checkLength(body: readonly Uint8Array[], expectedBytes: number, label: string): void {
  const bytes = bytesOf(body)
  if (bytes !== expectedBytes) throw new RangeError(`${label} has ${bytes} bytes instead of ${expectedBytes}`)
}

/** Throws `ERR_STORE_UNAVAILABLE` unless `body` has the CRC-32 that its caller computed. For stores that can't verify it. */
export function checkCrc32(body: readonly Uint8Array[], expected: number, label: string): void {
  const actual = crc32Of(body)
  if (actual !== expected >>> 0)
    throw new UnsealError(
      "ERR_STORE_UNAVAILABLE",
      `${label} has the CRC-32 ${hexCrc32(actual)} instead of ${hexCrc32(expected)}: it was damaged before it was written`,
    )
}

export const hexCrc32 = (sum: number): string => (sum >>> 0).toString(16).padStart(8, "0")

/** Throws `RangeError` unless `parts` are 1 to n without a gap and add up to `size`: then the caller is at fault. */
export function checkParts(parts: ReadonlyMap<number, WrittenPart>, size: number, partSize: number): void {
  const count = Math.ceil(size / partSize)
  if (parts.size !== count)
    throw new RangeError(`${parts.size} parts given to complete an object of ${count} parts`)
  for (let number = 1; number <= count; number++) {
    const part = parts.get(number)
    const expected = partBytes(number, size, partSize)
    if (part?.size !== expected)
      throw new RangeError(
        `part ${number} of ${count} has ${part?.size ?? "no"} bytes instead of ${expected}, so the object is not whole`,
      )
  }
}

/** Whether `found` is the object that an upload of `size` bytes with `metadata` makes. This settles ambiguous answers. */
export function isSameObject(
  found: StoredObject,
  size: number,
  metadata: Readonly<Record<string, string>>,
): boolean {
  const names = Object.keys(metadata)
  return (
    found.size === size &&
    Object.keys(found.metadata).length === names.length &&
    names.every((name) => found.metadata[name] === metadata[name])
  )
}
