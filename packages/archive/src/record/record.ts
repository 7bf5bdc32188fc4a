/** The record of a decryption, `archive.json`: its source, its result, and how to check the bytes. */
import { z } from "zod"
import { type Announced, fitsAnnounced } from "../decrypt/announced.ts"
import { UnsealError } from "../errors.ts"
import { formatCrc32 } from "../format/crc32.ts"
import { type Envelope, plaintextSizeOf } from "../format/envelope.ts"
import { PACKET_SIZE } from "../format/mpeg-ts.ts"
import type { Tail } from "../format/tail.ts"
import type { StoredObject } from "../store/contract.ts"
import { version } from "../version.ts"

const objectSchema = z.object({ key: z.string(), size: z.number().int().nonnegative(), etag: z.string() })

export const archiveRecordSchema = z.object({
  version: z.literal(1),
  archiveId: z.string(),
  projectId: z.string(),
  source: objectSchema,
  destination: objectSchema,
  /** CRC-32 of the plaintext, eight hex digits. */
  crc32: z.string().regex(/^[0-9a-f]{8}$/),
  /** Hex; absent if digests are off. */
  sha256: z
    .object({
      plaintext: z.string(),
      /** Present if the callback had a `sha256sum`. */
      ciphertext: z.string().optional(),
      /** What the callback's `sha256sum` is the digest of. The vendor does not say. */
      announced: z.enum(["ciphertext", "plaintext", "neither"]).optional(),
    })
    .optional(),
  /** SHA-256 of the public key (SPKI, DER), hex. Absent for an empty archive, which needs no key. */
  keyId: z.string().optional(),
  tail: z.object({
    form: z.enum(["pkcs7", "unpadded", "irregular"]),
    /** Bytes of PKCS#7 padding, kept or trimmed. */
    padding: z.number().int().nonnegative(),
  }),
  media: z.object({
    /** Whole packets of 188 bytes. */
    packets: z.number().int().nonnegative(),
    /** How many of them do not begin with the sync byte. */
    syncErrors: z.number().int().nonnegative(),
  }),
  /** ISO 8601. */
  startedAt: z.string(),
  finishedAt: z.string(),
  /** What the callback announced. Absent if it gave no size. */
  announced: z
    .object({
      /** Bytes. */
      size: z.number().int().nonnegative(),
      /** Whether that is the size of the ciphertext or the plaintext, give or take a block. */
      fits: z.boolean(),
    })
    .optional(),
  attempts: z.number().int().positive(),
  unsealVersion: z.string(),
})

export type ArchiveRecord = z.infer<typeof archiveRecordSchema>

/** The results of a finished transfer. `ArchiveRecord` explains the fields. */
export interface RecordFields {
  readonly archive: { readonly archiveId: string; readonly projectId: string }
  readonly source: StoredObject
  readonly envelope: Envelope
  readonly destination: { readonly key: string; readonly size: number }
  readonly transfer: {
    readonly crc32: number
    readonly syncErrors: number
    readonly sha256: { readonly plaintext: string | undefined; readonly ciphertext: string | undefined }
  }
  readonly keyId: string | undefined
  readonly tail: Tail
  readonly announced: Announced | undefined
  readonly attempts: number
  readonly startedAt: string
}

/** Creates the record before the object is visible. `finishRecord` adds the destination's version. */
export function createRecord(fields: RecordFields): ArchiveRecord {
  const { archive, source, envelope, transfer, keyId, tail } = fields
  const { size, sha256sum } = fields.announced ?? {}
  const { plaintext, ciphertext } = transfer.sha256
  const announced =
    ciphertext === undefined || plaintext === undefined
      ? {}
      : { ciphertext, announced: compareAnnounced(sha256sum, plaintext, ciphertext) }
  return {
    version: 1,
    archiveId: archive.archiveId,
    projectId: archive.projectId,
    source: describeObject(source),
    destination: { ...fields.destination, etag: "" },
    crc32: formatCrc32(transfer.crc32),
    ...(plaintext === undefined ? {} : { sha256: { plaintext, ...announced } }),
    ...(keyId === undefined ? {} : { keyId }),
    tail,
    media: {
      packets: Math.floor(plaintextSizeOf(envelope, source.size) / PACKET_SIZE),
      syncErrors: transfer.syncErrors,
    },
    startedAt: fields.startedAt,
    finishedAt: new Date().toISOString(),
    ...(size === undefined
      ? {}
      : { announced: { size, fits: fitsAnnounced(size, source.size, envelope, tail.padding) } }),
    attempts: fields.attempts,
    unsealVersion: version,
  }
}

/** Completes the record of an archive that has become visible as `destination`. */
export function finishRecord(record: ArchiveRecord, destination: StoredObject): ArchiveRecord {
  return { ...record, destination: describeObject(destination), finishedAt: new Date().toISOString() }
}

/** Throws `ERR_DIGEST_MISMATCH` if the callback's `sha256sum` matches neither digest of this archive. */
export function checkAnnounced({ sha256 }: ArchiveRecord): void {
  if (sha256?.announced === "neither")
    throw new UnsealError(
      "ERR_DIGEST_MISMATCH",
      `the announced sha256sum is neither the ciphertext's ${sha256.ciphertext} nor the plaintext's ${sha256.plaintext}`,
    )
}

/** Real recordings have next to none. Above this, more is lost than left. */
const MAX_DAMAGE = 0.5

/** Throws `ERR_CIPHERTEXT_INVALID` if more than `most` (0 to 1) of the packets have no sync byte. */
export function checkDamage(
  { source, media: { packets, syncErrors } }: ArchiveRecord,
  most: number = MAX_DAMAGE,
): void {
  if (syncErrors <= packets * most) return
  const percent = (share: number) => `${Math.floor(share * 100)} %`
  throw new UnsealError(
    "ERR_CIPHERTEXT_INVALID",
    `${syncErrors} of the ${packets} packets in ${source.key} (${percent(syncErrors / packets)}) have no sync byte 0x47; at most ${percent(most)} may lack it`,
  )
}

function compareAnnounced(
  sha256sum: string | undefined,
  plaintext: string,
  ciphertext: string,
): "ciphertext" | "plaintext" | "neither" {
  const announced = Buffer.from(sha256sum ?? "", "base64").toString("hex")
  if (announced === ciphertext) return "ciphertext"
  return announced === plaintext ? "plaintext" : "neither"
}

const describeObject = ({ key, size, etag }: StoredObject) => ({ key, size, etag })

/** The key of the record of the archive at `key`: `.ts` replaced by `.json`. */
export function recordKeyOf(key: string): string {
  return `${key.replace(/\.ts$/, "")}.json`
}

/** Parses a record from a store. `null` if the bytes are not a record; it is then written again. */
export function parseRecord(bytes: Uint8Array): ArchiveRecord | null {
  try {
    return archiveRecordSchema.parse(JSON.parse(Buffer.from(bytes).toString("utf8")))
  } catch {
    return null
  }
}

/** Indented JSON, readable by people too. */
export function encodeRecord(record: ArchiveRecord): Uint8Array {
  return Buffer.from(`${JSON.stringify(record, null, 2)}\n`)
}
