/** One part of an archive on its way from ciphertext to plaintext: a ranged read, decrypted as its bytes arrive. */
import { crc32 } from "node:zlib"
import { createPartDecryptor } from "./format/cbc.ts"
import { checkFirstPackets, countSyncErrors, PROBE_SIZE } from "./format/mpeg-ts.ts"
import { BLOCK_SIZE, type Part, sizeOf } from "./format/parts.ts"
import type { ContentKey } from "./format/password.ts"
import { readTail } from "./format/tail.ts"
import type { ArchiveSource, StoredObject } from "./store/contract.ts"

/** A decrypted part: what is written, and what is known of it. */
export interface DecryptedPart {
  readonly chunks: readonly Uint8Array[]
  /** Bytes in `chunks`. */
  readonly size: number
  /** Of `chunks`. */
  readonly crc32: number
  readonly syncErrors: number
  /** The part's last bytes before any padding was trimmed, up to a block: the archive's tail, if this is the last part. */
  readonly end: Uint8Array
  /** The part's own ciphertext without the previous block, only if it was asked for. */
  readonly ciphertext: readonly Uint8Array[]
  readonly readSeconds: number
  readonly decryptSeconds: number
}

/**
 * Reads and decrypts one part of `object`. `keepCiphertext` keeps its bytes for hashing, at twice the memory. In the first
 * part the first packets are checked as soon as they are there, so a wrong content key costs no more reading than that.
 * Errors are the source's, `ERR_CIPHERTEXT_INVALID` and, of the first part, `ERR_NOT_MPEG_TS`.
 */
export async function decryptPart(
  source: ArchiveSource,
  object: StoredObject,
  part: Part,
  contentKey: ContentKey,
  keepCiphertext: boolean,
  signal: AbortSignal,
): Promise<DecryptedPart> {
  const startedAt = performance.now()
  const isFirst = part.number === 1
  const decryptor = createPartDecryptor(contentKey, isFirst)
  const wanted = sizeOf(part.plaintext)
  const chunks: Uint8Array[] = []
  const ciphertext: Uint8Array[] = []
  const end = new LastBlock()
  let previousBlock = isFirst ? 0 : BLOCK_SIZE
  let size = 0
  let checksum = 0
  let syncErrors = 0
  let decryptMs = 0
  let unchecked = isFirst

  try {
    for await (const chunk of source.read(object, part.ciphertext, signal)) {
      if (keepCiphertext) {
        const skipped = Math.min(previousBlock, chunk.length)
        previousBlock -= skipped
        ciphertext.push(Uint8Array.from(chunk.subarray(skipped)))
      }
      const decryptStarted = performance.now()
      const decrypted = decryptor.update(chunk)
      end.push(decrypted)
      const kept = decrypted.subarray(0, wanted - size)
      if (kept.length > 0) {
        checksum = crc32(kept, checksum)
        syncErrors += countSyncErrors(kept, part.plaintext.start + size, object.size)
        chunks.push(kept)
        size += kept.length
      }
      decryptMs += performance.now() - decryptStarted
      if (unchecked && size >= PROBE_SIZE) {
        checkFirstPackets(firstBytes(chunks, PROBE_SIZE))
        unchecked = false
      }
    }
    decryptor.final()
  } finally {
    decryptor.close()
  }
  if (unchecked) {
    // So small that its padding, which is no packet, may be among the first bytes.
    const padding = part.ciphertext.end === object.size ? readTail(object.size, end.bytes()).padding : 0
    checkFirstPackets(firstBytes(chunks, Math.min(size, object.size - padding)))
  }
  const readMs = performance.now() - startedAt - decryptMs
  return {
    chunks,
    size,
    crc32: checksum,
    syncErrors,
    end: end.bytes(),
    ciphertext,
    readSeconds: readMs / 1000,
    decryptSeconds: decryptMs / 1000,
  }
}

function firstBytes(chunks: readonly Uint8Array[], size: number): Uint8Array {
  const needed: Uint8Array[] = []
  for (let have = 0, index = 0; have < size && index < chunks.length; index++) {
    needed.push(chunks[index]!)
    have += chunks[index]!.length
  }
  return Buffer.concat(needed).subarray(0, size)
}

/** Remembers the last block of what passes. */
class LastBlock {
  #last: Uint8Array[] = []

  push(bytes: Uint8Array): void {
    if (bytes.length >= BLOCK_SIZE) this.#last = [bytes.subarray(-BLOCK_SIZE)]
    else if (bytes.length > 0) this.#last.push(bytes)
  }

  bytes(): Uint8Array {
    return Uint8Array.from(Buffer.concat(this.#last).subarray(-BLOCK_SIZE))
  }
}
