/** The layout of a transport stream packet and its clocks (ISO/IEC 13818-1, section 2.4.3). */

/** Bytes in a transport stream packet. */
export const PACKET_SIZE = 188
export const SYNC_BYTE = 0x47
/** The PID of stuffing packets. */
export const NULL_PID = 0x1fff
/** PCR base, PTS and DTS count 90 kHz ticks in 33 bits, so they wrap after 26.5 hours. */
export const TICKS = 2 ** 33

/** The offsets of the clock references in the packet at `at`: PCR, then OPCR. */
export function clockOffsets(sample: Uint8Array, at: number): { all: number[]; pcr?: number } {
  const hasAdaptationField = (sample[at + 3]! & 0x20) !== 0
  if (!hasAdaptationField || sample[at + 4] === 0) return { all: [] }
  const flags = sample[at + 5]!
  const pcr = (flags & 0x10) !== 0 ? at + 6 : undefined
  const opcr = (flags & 0x08) !== 0 ? (pcr ?? at) + 6 : undefined
  const all = [pcr, opcr].filter((offset) => offset !== undefined)
  return pcr === undefined ? { all } : { all, pcr }
}

/** The offset of the payload in the packet at `at`, after its adaptation field. */
export function payloadOffset(sample: Uint8Array, at: number): number {
  const hasAdaptationField = (sample[at + 3]! & 0x20) !== 0
  return at + 4 + (hasAdaptationField ? 1 + sample[at + 4]! : 0)
}

interface UnitHeader {
  /** The offsets of the PTS and, if there is one, the DTS. */
  readonly stamps: readonly number[]
  /** The offset of the unit's data. */
  readonly data: number
}

/** The header of the PES packet that begins in the packet at `at` (2.4.3.6). `null` if none begins there. */
export function unitHeader(sample: Uint8Array, at: number): UnitHeader | null {
  const beginsUnit = (sample[at + 1]! & 0x40) !== 0
  const scrambled = (sample[at + 3]! & 0xc0) !== 0
  if (!beginsUnit || scrambled) return null
  const payload = payloadOffset(sample, at)
  const end = at + PACKET_SIZE
  if (payload + 14 > end) return null
  if (sample[payload] !== 0 || sample[payload + 1] !== 0 || sample[payload + 2] !== 1) return null
  if (!hasOptionalHeader(sample[payload + 3]!)) return null
  const data = payload + 9 + sample[payload + 8]!
  const flags = sample[payload + 7]! >> 6
  if (flags === 2) return { stamps: [payload + 9], data }
  if (flags === 3 && payload + 19 <= end) return { stamps: [payload + 9, payload + 14], data }
  return { stamps: [], data }
}

/** Stream ids whose PES packets have no header fields (ISO/IEC 13818-1, table 2-21): maps, padding, private 2, control. */
const BARE_STREAM_IDS = new Set([0xbc, 0xbe, 0xbf, 0xf0, 0xf1, 0xf2, 0xf8, 0xff])

const hasOptionalHeader = (streamId: number): boolean => !BARE_STREAM_IDS.has(streamId)

/** The 33-bit base of a PCR or OPCR. */
export function readClock(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
  return high * 2 + (bytes[at + 4]! >> 7)
}

/** Writes the 33-bit base. The 27 MHz extension after it stays, because repetitions are whole ticks apart. */
export function writeClock(bytes: Uint8Array, at: number, ticks: number): void {
  const high = Math.floor(ticks / 2)
  bytes[at] = high >>> 24
  bytes[at + 1] = high >>> 16
  bytes[at + 2] = high >>> 8
  bytes[at + 3] = high
  bytes[at + 4] = (bytes[at + 4]! & 0x7f) | ((ticks % 2) << 7)
}

/** Reads a PTS or DTS: 33 bits in five bytes as 3 + 15 + 15, each group closed by a marker bit. */
export function readStamp(bytes: Uint8Array, at: number): number {
  const top = (bytes[at]! >> 1) & 0x07
  const middle = (bytes[at + 1]! << 7) | (bytes[at + 2]! >> 1)
  const bottom = (bytes[at + 3]! << 7) | (bytes[at + 4]! >> 1)
  return top * 2 ** 30 + middle * 2 ** 15 + bottom
}

export function writeStamp(bytes: Uint8Array, at: number, ticks: number): void {
  const top = Math.floor(ticks / 2 ** 30)
  const rest = ticks % 2 ** 30
  bytes[at] = (bytes[at]! & 0xf1) | (top << 1)
  bytes[at + 1] = rest >> 22
  bytes[at + 2] = (bytes[at + 2]! & 0x01) | ((rest >> 14) & 0xfe)
  bytes[at + 3] = rest >> 7
  bytes[at + 4] = (bytes[at + 4]! & 0x01) | ((rest << 1) & 0xfe)
}
