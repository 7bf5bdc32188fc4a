/** One part of an archive on its way from ciphertext to plaintext: a ranged read, decrypted as its bytes arrive. */
import { crc32 } from "node:zlib"
import { type ContentKey, plaintextSizeOf } from "../format/envelope.ts"
import { checkFirstPackets, countSyncErrors, PROBE_SIZE } from "../format/mpeg-ts.ts"
import { endOf } from "../format/part-plan.ts"
import { type Part, rangeSize } from "../format/parts.ts"
import { readTail } from "../format/tail.ts"
import type { PinnedArchive } from "./pinned.ts"

/** A decrypted part. Its bytes lie in the memory that was given for it. */
export interface DecryptedPart {
  readonly plaintext: Uint8Array
  /** CRC-32 of `plaintext`. */
  readonly crc32: number
  readonly syncErrors: number
  /**
   * A copy of the last bytes before any padding was trimmed, as many as the longest padding has. For the last part, this is the
   * tail.
   */
  readonly end: Uint8Array
  /** The part's own ciphertext without its lead. Empty unless it was requested. */
  readonly ciphertext: Uint8Array
  readonly readSeconds: number
  readonly decryptSeconds: number
}

/** How many bytes of memory decrypting `part` takes. */
export function memoryOf(part: Part, keepCiphertext: boolean): number {
  return ownSize(part) * (keepCiphertext ? 2 : 1)
}

/** The size of the part's own ciphertext. Its plaintext, even before trimming, is no larger. */
const ownSize = (part: Part): number => rangeSize(part.ciphertext) - part.lead

/**
 * Reads and decrypts one part of `archive` into `memory`, of `memoryOf` bytes. `keepCiphertext` keeps its ciphertext there too, for
 * hashing. The first packets of the first part are checked as soon as they arrive, so a wrong content key costs no further reading.
 * Calls `moved` for each chunk. Throws the source's errors, `ERR_CIPHERTEXT_INVALID` and, for the first part, `ERR_NOT_MPEG_TS`.
 */
export async function decryptPart(
  archive: Pick<PinnedArchive, "object" | "read">,
  part: Part,
  contentKey: ContentKey,
  keepCiphertext: boolean,
  memory: Uint8Array,
  signal: AbortSignal,
  moved?: (bytes: number) => void,
): Promise<DecryptedPart> {
  const startedAt = performance.now()
  const { envelope } = contentKey
  const size = plaintextSizeOf(envelope, archive.object.size)
  const decryptor = envelope.createDecryptor(contentKey, part)
  const wanted = rangeSize(part.plaintext)
  const own = ownSize(part)
  const ciphertext = keepCiphertext ? memory.subarray(own, own * 2) : new Uint8Array(0)
  let read = 0
  let decrypted = 0
  let checksum = 0
  let syncErrors = 0
  let decryptMs = 0
  let unchecked = part.number === 1

  try {
    for await (const chunk of archive.read(part.ciphertext, signal)) {
      const decryptStarted = performance.now()
      if (keepCiphertext)
        ciphertext.set(chunk.subarray(Math.max(0, part.lead - read)), Math.max(0, read - part.lead))
      read += chunk.length
      moved?.(chunk.length)
      const before = decrypted
      decrypted = decryptor.update(chunk, memory, before)
      const kept = memory.subarray(before, Math.min(decrypted, wanted))
      checksum = crc32(kept, checksum)
      syncErrors += countSyncErrors(kept, part.plaintext.start + before, size)
      decryptMs += performance.now() - decryptStarted
      if (unchecked && decrypted >= PROBE_SIZE) {
        checkFirstPackets(memory.subarray(0, Math.min(PROBE_SIZE, wanted)))
        unchecked = false
      }
    }
    decryptor.final()
  } finally {
    decryptor.close()
  }
  const end = Uint8Array.from(memory.subarray(Math.max(0, decrypted - envelope.longestPadding), decrypted))
  if (unchecked) {
    // The archive is so small that its padding, which is no packet, may be among the first bytes.
    const padding = part.ciphertext.end === archive.object.size ? readTail(size, end).padding : 0
    checkFirstPackets(memory.subarray(0, Math.min(wanted, decrypted - padding)))
  }
  const readMs = performance.now() - startedAt - decryptMs
  return {
    plaintext: memory.subarray(0, Math.min(decrypted, wanted)),
    crc32: checksum,
    syncErrors,
    end,
    ciphertext,
    readSeconds: readMs / 1000,
    decryptSeconds: decryptMs / 1000,
  }
}

/**
 * The last bytes of the archive's plaintext, where a padding can be, as `readTail` takes them. Reads nothing if there can't be
 * one.
 */
export async function decryptEnd(
  archive: Pick<PinnedArchive, "object" | "read">,
  contentKey: ContentKey,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { size } = archive.object
  const { envelope } = contentKey
  if (size === 0 || envelope.longestPadding === 0) return new Uint8Array(0)
  const part = endOf(envelope, size)
  const memory = new Uint8Array(memoryOf(part, false))
  return (await decryptPart(archive, part, contentKey, false, memory, signal)).end
}
