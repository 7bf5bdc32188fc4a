/** Archives that need no decryption: without a certificate, the vendor uploads them unencrypted. */
import { UnsealError } from "../errors.ts"
import { checkFirstPackets, PACKET_SIZE, PROBE_SIZE } from "../format/mpeg-ts.ts"
import type { PinnedArchive } from "./pinned.ts"

/** How decryption fails for an unencrypted archive. */
const SUSPICIOUS = ["ERR_CIPHERTEXT_INVALID", "ERR_NOT_MPEG_TS"]

const REMEDY =
  "copy it to the destination as it is; if the vendor should encrypt what it records, register the certificate again (unseal storage set)"

/** Returns `error`, or one that says that the archive already is MPEG-TS. Reads the first packets to find out. Never throws. */
export async function namePlain(
  error: unknown,
  archive: PinnedArchive | undefined,
  signal: AbortSignal,
): Promise<unknown> {
  if (!(error instanceof UnsealError) || !SUSPICIOUS.includes(error.code)) return error
  if (signal.aborted || archive === undefined) return error
  const { size, key } = archive.object
  const end = Math.min(PROBE_SIZE, size)
  // A few packets may have their sync bytes by chance.
  if (end < 4 * PACKET_SIZE) return error
  try {
    const pieces: Uint8Array[] = []
    for await (const piece of archive.read({ start: 0, end }, signal)) pieces.push(Uint8Array.from(piece))
    checkFirstPackets(Buffer.concat(pieces))
  } catch {
    return error
  }
  return new UnsealError("ERR_CIPHERTEXT_INVALID", `${key} is not encrypted: it is MPEG-TS already`, {
    cause: error,
    remedy: REMEDY,
  })
}
