/** One part of an archive on its way from ciphertext to plaintext: a ranged read, decrypted as its bytes arrive. */
import { crc32 } from "node:zlib"
import { createPartDecryptor } from "../format/cbc.ts"
import { checkFirstPackets, countSyncErrors, PROBE_SIZE } from "../format/mpeg-ts.ts"
import { BLOCK_SIZE, type Part, planParts, sizeOf } from "../format/parts.ts"
import type { ContentKey } from "../format/password.ts"
import { readTail } from "../format/tail.ts"
import type { PinnedArchive } from "./pinned.ts"

/** A decrypted part: what is written, and what is known of it. Its bytes lie in the memory that was given for it. */
export interface DecryptedPart {
  readonly plaintext: Uint8Array
  /** Of `plaintext`. */
  readonly crc32: number
  readonly syncErrors: number
  /** The part's last block before any padding was trimmed, as a copy: the archive's tail, if this is the last part. */
  readonly end: Uint8Array
  /** The part's own ciphertext without the previous block; empty unless it was asked for. */
  readonly ciphertext: Uint8Array
  readonly readSeconds: number
  readonly decryptSeconds: number
}

/** Bytes of memory that decrypting `part` takes. */
export function memoryOf(part: Part, keepCiphertext: boolean): number {
  return ownSize(part) * (keepCiphertext ? 2 : 1)
}

/** Bytes of the part's ciphertext without the previous block, and of its plaintext before any padding is trimmed. */
const ownSize = (part: Part): number => sizeOf(part.ciphertext) - (part.number === 1 ? 0 : BLOCK_SIZE)

/**
 * Reads and decrypts one part of `archive` into `memory`, of `memoryOf` bytes. `keepCiphertext` keeps its ciphertext there too,
 * for hashing. In the first part the first packets are checked as soon as they are there, so a wrong content key costs no
 * more reading than that. `moved` is told of each chunk. Errors are the source's, `ERR_CIPHERTEXT_INVALID` and, of the first part, `ERR_NOT_MPEG_TS`.
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
  const { size } = archive.object
  const isFirst = part.number === 1
  const decryptor = createPartDecryptor(contentKey, isFirst)
  const wanted = sizeOf(part.plaintext)
  const own = ownSize(part)
  const ciphertext = keepCiphertext ? memory.subarray(own, own * 2) : new Uint8Array(0)
  let read = 0
  let decrypted = 0
  let checksum = 0
  let syncErrors = 0
  let decryptMs = 0
  let unchecked = isFirst

  try {
    for await (const chunk of archive.read(part.ciphertext, signal)) {
      const decryptStarted = performance.now()
      if (keepCiphertext) {
        const previous = sizeOf(part.ciphertext) - own
        ciphertext.set(chunk.subarray(Math.max(0, previous - read)), Math.max(0, read - previous))
      }
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
  const end = Uint8Array.from(memory.subarray(Math.max(0, decrypted - BLOCK_SIZE), decrypted))
  if (unchecked) {
    // So small that its padding, which is no packet, may be among the first bytes.
    const padding = part.ciphertext.end === size ? readTail(size, end).padding : 0
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

/** The plaintext of the last block of `archive`, whatever part it is in; nothing of an empty one. */
export async function decryptLastBlock(
  archive: Pick<PinnedArchive, "object" | "read">,
  contentKey: ContentKey,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { size } = archive.object
  if (size === 0) return new Uint8Array(0)
  const start = size - BLOCK_SIZE
  const number = start === 0 ? 1 : 2
  const part = planParts(size, size, Math.max(start, BLOCK_SIZE)).part(number)
  return (await decryptPart(archive, part, contentKey, false, new Uint8Array(BLOCK_SIZE), signal)).end
}
