/** Samples a second by sampling frequency index (ISO/IEC 14496-3, table 1.18). */
const SAMPLE_RATES = [
  96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
]
const SAMPLES_PER_FRAME = 1024

/**
 * How long a unit of AAC audio plays, in 90 kHz ticks. A recorder puts several frames behind one time stamp, so the time
 * stamps alone don't tell. `undefined` if `unit` is not whole ADTS frames (ISO/IEC 14496-3, annex 1.A).
 */
export function adtsTicks(unit: Uint8Array): number | undefined {
  let seconds = 0
  let at = 0
  while (at + 7 <= unit.length) {
    const synced = unit[at] === 0xff && (unit[at + 1]! & 0xf6) === 0xf0
    const rate = SAMPLE_RATES[(unit[at + 2]! >> 2) & 0x0f]
    const length = ((unit[at + 3]! & 0x03) << 11) | (unit[at + 4]! << 3) | (unit[at + 5]! >> 5)
    if (!synced || rate === undefined || length < 7) return undefined
    seconds += SAMPLES_PER_FRAME / rate
    at += length
  }
  return at === unit.length && at > 0 ? Math.ceil(seconds * 90_000) : undefined
}
