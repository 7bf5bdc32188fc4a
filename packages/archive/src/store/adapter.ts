/** What the adapters agree on among themselves; users of a store need only `contract.ts` and `open.ts`. */
import { crc32 } from "node:zlib"
import { counted } from "../counted.ts"
import { UnsealError } from "../errors.ts"
import { PART_UNIT } from "../format/parts.ts"
import type { ArchiveSource, ArchiveStore, OpenedObject, StoredObject, WrittenPart } from "./contract.ts"

/** What the adapter has found out about its store, for a log line or a metric: when it is found or changes. */
export type StoreNotice =
  /** The store's clock is so far ahead of this machine's (behind, if negative). Requests are signed by it from now on. */
  | { readonly what: "clock-skew"; readonly seconds: number }
  /** The bucket is in another region than configured. Requests are signed for it from now on. */
  | { readonly what: "other-region"; readonly region: string }
  /** A look at an object was denied, and nobody can tell whether it is there. Told of each such look. */
  | { readonly what: "blind" }
  /** An upload that was given up may not be ended: its parts stay. */
  | { readonly what: "abort-denied"; readonly permission: string }
  /** The uploads of one key may not be listed: what earlier runs have forgotten is not found. */
  | { readonly what: "uploads-denied"; readonly permission: string }

/** What `openStore` hands to every adapter. */
export interface AdapterOptions {
  /** The preferred part size: an adapter moves it into the store's limits for each object. */
  readonly partSizeBytes: number
  /** The environment, for what the store's SDK does not read by itself. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** A connection on which nothing moved for so long is given up. */
  readonly idleTimeoutMs: number
  /** Instead of those that the SDK's chain or the URL's profile would give; only S3 takes any. */
  readonly credentials?: S3Credentials | undefined
  /** Told of each notice. */
  readonly onNotice?: ((notice: StoreNotice) => void) | undefined
}

/** Credentials of S3 for one store, where the SDK's chain, which is the process's, would be the wrong place. */
export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** 8 MiB as whole `PART_UNIT`s: a 4-hour archive of 12 GB has 1,431 parts, and eight parts in flight take 64 MiB. */
export const DEFAULT_PART_SIZE_BYTES = 11_156 * PART_UNIT

/** Longer than any healthy store is silent, shorter than a job's lock. */
export const DEFAULT_IDLE_TIMEOUT_MS = 30_000

/** A store that holds connections: `close` lets them go. No call may follow it. */
export interface OpenedStore extends ArchiveStore {
  close(): Promise<void>
}

/** The store's own name for `key`: below the prefix of the store's URL, if it has one. */
export const keyUnder = (prefix: string, key: string): string => (prefix === "" ? key : `${prefix}/${key}`)

/** `ArchiveSource.open` in two requests, where one would not do. */
export async function openInTwo(
  source: Pick<ArchiveSource, "stat" | "read">,
  key: string,
  length: number,
  signal: AbortSignal,
): Promise<OpenedObject | null> {
  const object = await source.stat(key, signal)
  if (object === null) return null
  const end = Math.min(length, object.size)
  // `read` asks for nothing before its first piece is wanted.
  const head = end === 0 ? nothing() : source.read(object, { start: 0, end }, signal)
  return { object, head, close() {} }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

/**
 * The markers of a listing's pages so far. `advance` gives where the next page begins, or `undefined` at the end;
 * `ERR_STORE_UNAVAILABLE` if the store says that there is more and names a place that was read already, or none.
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
 * What is wrong with the ETag of an answer, as a clause; `null` if it names one version to the byte. A weak one can't be held to
 * with `If-Match`.
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

/** Bytes that part `number` of an object of `size` bytes has. `RangeError` if the object has no such part. */
export function partBytes(number: number, size: number, partSize: number): number {
  const start = (number - 1) * partSize
  if (!Number.isInteger(number) || number < 1 || start >= size)
    throw new RangeError(`part ${number} of an object of ${size} bytes in parts of ${partSize}`)
  return Math.min(partSize, size - start)
}

/** `RangeError` unless `body` has `expectedBytes` bytes. `label` says what it is, e.g. `part 2 of s3://bucket/key`. */
export function checkLength(body: readonly Uint8Array[], expectedBytes: number, label: string): void {
  const bytes = bytesOf(body)
  if (bytes !== expectedBytes) throw new RangeError(`${label} has ${bytes} bytes instead of ${expectedBytes}`)
}

/** `ERR_STORE_UNAVAILABLE` unless `body` has the CRC-32 that its caller computed, for a store that can't verify it. */
export function checkCrc32(body: readonly Uint8Array[], expected: number, label: string): void {
  const actual = crc32Of(body)
  if (actual !== expected >>> 0)
    throw new UnsealError(
      "ERR_STORE_UNAVAILABLE",
      `${label} has the CRC-32 ${hexCrc32(actual)} instead of ${hexCrc32(expected)}: it was damaged before it was written`,
    )
}

export const hexCrc32 = (sum: number): string => (sum >>> 0).toString(16).padStart(8, "0")

/** `RangeError` unless `parts` are 1 to n without a gap and add up to `size`: a caller's mistake that no store may see. */
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

/** Whether `found` is the object that an upload of `size` bytes with `metadata` makes: how an ambiguous answer is settled. */
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
