/**
 * MPEG transport stream packets (ISO/IEC 13818-1, section 2.4.3.2), limited to what distinguishes a right content key from a
 * wrong one.
 */
import { UnsealError } from "../errors.ts"

export const PACKET_SIZE = 188
export const SYNC_BYTE = 0x47

/** How many packets are checked before an upload begins. A wrong key produces a sync byte with a chance of 1 in 256. */
export const PROBE_PACKETS = 64
/** How many bytes of plaintext `checkFirstPackets` needs, if the archive has as many. */
export const PROBE_SIZE = PROBE_PACKETS * PACKET_SIZE
/** The required share of sync bytes among the probed packets. A damaged recording still has nearly all, a wrong key gives 0.4 %. */
const PROBE_SHARE = 0.75

/**
 * Checks the sync bytes of an archive's first packets. Throws `ERR_NOT_MPEG_TS` if too few match: the content key or the object is
 * wrong. It also throws if only the very first is missing, because a wrong IV damages only block 1. Without packets it passes.
 */
export function checkFirstPackets(plaintext: Uint8Array): void {
  let packets = 0
  let synced = 0
  for (let at = 0; at < plaintext.length && packets < PROBE_PACKETS; at += PACKET_SIZE) {
    packets++
    if (plaintext[at] === SYNC_BYTE) synced++
  }
  if (packets === 0) return
  if (synced < packets * PROBE_SHARE)
    throw new UnsealError(
      "ERR_NOT_MPEG_TS",
      `${synced} of the first ${packets} packets begin with the sync byte 0x47: the content key is wrong, or the object is not encrypted MPEG-TS`,
    )
  if (plaintext[0] !== SYNC_BYTE)
    throw new UnsealError(
      "ERR_NOT_MPEG_TS",
      `the first packet has no sync byte 0x47, but ${synced} of ${packets} do: block 1 is damaged, or the IV is wrong`,
    )
}

/**
 * Counts the whole packets without a sync byte in a piece of an archive. `offset` is the position of `plaintext` in the archive,
 * and `size` is the archive's size, both in bytes. Bytes after the last whole packet don't count.
 */
export function countSyncErrors(plaintext: Uint8Array, offset: number, size: number): number {
  let errors = 0
  const first = (PACKET_SIZE - (offset % PACKET_SIZE)) % PACKET_SIZE
  const end = Math.min(plaintext.length, size - (size % PACKET_SIZE) - offset)
  for (let at = first; at < end; at += PACKET_SIZE) if (plaintext[at] !== SYNC_BYTE) errors++
  return errors
}
