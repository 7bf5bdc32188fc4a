/**
 * Extends a short real recording to any size. A recorder writes one long MPEG transport stream. Repeating a sample byte for
 * byte would jump back in time at every seam, which every player and checker would notice. So each repetition carries on
 * where the last one ended: its continuity counters (ISO/IEC 13818-1, section 2.4.3.3), clock references (PCR, OPCR: 2.4.3.5)
 * and presentation and decoding time stamps (PTS, DTS: 2.4.3.7) are moved on.
 */

import { adtsTicks } from "./adts.ts"
import {
  clockOffsets,
  NULL_PID,
  PACKET_SIZE,
  payloadOffset,
  readClock,
  readStamp,
  SYNC_BYTE,
  TICKS,
  unitHeader,
  writeClock,
  writeStamp,
} from "./packet.ts"

interface Counter {
  /** The offset in the sample of the byte whose low four bits hold the counter. */
  readonly offset: number
  readonly pid: number
}

interface TimeStamp {
  readonly offset: number
  readonly ticks: number
  readonly form: "clock" | "stamp"
}

/** What must change from one repetition to the next. It is found once, so that a repetition is a copy and a few writes. */
interface Seams {
  readonly packets: Uint8Array
  readonly counters: readonly Counter[]
  /** By PID: how far a repetition's continuity counter is ahead of the previous repetition's. */
  readonly counterSteps: Uint8Array
  readonly timeStamps: readonly TimeStamp[]
  /** Ticks from one repetition to the next. */
  readonly period: number
}

export interface ExtendOptions {
  /** Ends in the middle of a packet if `bytes` is not a whole number of packets, as an interrupted recording does. */
  readonly partialPacket?: boolean
}

/**
 * Repeats the transport stream `sample` as one valid stream: up to `bytes` bytes in whole packets, or exactly `bytes` with
 * `partialPacket`. Chunks are at most as long as the sample and belong to the consumer. Throws `RangeError` if the sample is
 * not whole packets with sync bytes.
 */
export function* extendTransportStream(
  sample: Uint8Array,
  bytes: number,
  options: ExtendOptions = {},
): Generator<Uint8Array, void, undefined> {
  if (!Number.isSafeInteger(bytes) || bytes < 0)
    throw new RangeError(`size ${bytes} is not a number of bytes`)
  const seams = findSeams(sample)
  let left = options.partialPacket === true ? bytes : bytes - (bytes % PACKET_SIZE)
  for (let repetition = 0; left > 0; repetition++) {
    const chunk = repeat(seams, repetition)
    yield left < chunk.length ? chunk.subarray(0, left) : chunk
    left -= Math.min(left, chunk.length)
  }
}

function repeat(seams: Seams, repetition: number): Uint8Array {
  const chunk = Uint8Array.from(seams.packets)
  if (repetition === 0) return chunk
  const steps = seams.counterSteps.map((step) => (step * repetition) & 0x0f)
  for (const { offset, pid } of seams.counters) {
    const byte = chunk[offset]!
    chunk[offset] = (byte & 0xf0) | ((byte + steps[pid]!) & 0x0f)
  }
  const shift = (repetition * seams.period) % TICKS
  for (const { offset, ticks, form } of seams.timeStamps) {
    const moved = (ticks + shift) % TICKS
    if (form === "clock") writeClock(chunk, offset, moved)
    else writeStamp(chunk, offset, moved)
  }
  return chunk
}

function findSeams(sample: Uint8Array): Seams {
  if (sample.length === 0 || sample.length % PACKET_SIZE !== 0)
    throw new RangeError(
      `sample of ${sample.length} bytes is not a whole number of ${PACKET_SIZE}-byte packets`,
    )

  const counters: Counter[] = []
  const timeStamps: TimeStamp[] = []
  const counterSteps = new Uint8Array(NULL_PID + 1)
  const firstCounters = new Map<number, number>()
  const clocks = new Map<number, TickSpan>()
  const decodingTimes = new Map<number, TickSpan>()
  const lastUnits = new Map<number, Uint8Array[]>()

  for (let at = 0; at < sample.length; at += PACKET_SIZE) {
    if (sample[at] !== SYNC_BYTE) throw new RangeError(`sample has no sync byte at ${at}`)
    const pid = ((sample[at + 1]! & 0x1f) << 8) | sample[at + 2]!
    // Null packets have an undefined counter and no meaningful content.
    if (pid === NULL_PID) continue

    const counter = sample[at + 3]! & 0x0f
    counters.push({ offset: at + 3, pid })
    const clock = clockOffsets(sample, at)
    for (const offset of clock.all)
      timeStamps.push({ offset, ticks: readClock(sample, offset), form: "clock" })
    if (clock.pcr !== undefined) widen(clocks, pid, readClock(sample, clock.pcr))

    const hasPayload = (sample[at + 3]! & 0x10) !== 0
    if (!hasPayload) continue
    const first = firstCounters.get(pid) ?? counter
    firstCounters.set(pid, first)
    counterSteps[pid] = (counter + 1 - first) & 0x0f

    const unit = unitHeader(sample, at)
    if (unit === null) {
      lastUnits.get(pid)?.push(sample.subarray(payloadOffset(sample, at), at + PACKET_SIZE))
      continue
    }
    for (const offset of unit.stamps)
      timeStamps.push({ offset, ticks: readStamp(sample, offset), form: "stamp" })
    // The decoding time has to grow. Without a DTS it is the PTS.
    const last = unit.stamps.at(-1)
    if (last === undefined) continue
    widen(decodingTimes, pid, readStamp(sample, last))
    lastUnits.set(pid, [sample.subarray(unit.data, at + PACKET_SIZE)])
  }

  const lengths = [...clocks.values()].map((span) => lengthOf(span))
  for (const [pid, span] of decodingTimes)
    lengths.push(lengthOf(span, adtsTicks(Buffer.concat(lastUnits.get(pid)!))))
  return { packets: sample, counters, counterSteps, timeStamps, period: Math.max(0, ...lengths) }
}

/** The time stamps of one kind in one stream, in ticks after `start`. */
interface TickSpan {
  readonly start: number
  earliest: number
  latest: number
  count: number
}

function widen(spans: Map<number, TickSpan>, pid: number, ticks: number): void {
  const span = spans.get(pid) ?? { start: ticks, earliest: 0, latest: 0, count: 0 }
  spans.set(pid, span)
  // A signed distance measures samples correctly whose time stamps wrap or step back a little.
  const distance = ((ticks - span.start + TICKS * 1.5) % TICKS) - TICKS / 2
  span.earliest = Math.min(span.earliest, distance)
  span.latest = Math.max(span.latest, distance)
  span.count++
}

/**
 * How long a stream plays: up to its last time stamp, plus `lastUnit` ticks or, without it, the mean step. The longest
 * stream determines the period, so that no unit overlaps the next repetition.
 */
function lengthOf({ earliest, latest, count }: TickSpan, lastUnit?: number): number {
  const length = latest - earliest
  return length + (lastUnit ?? Math.max(1, Math.ceil(length / Math.max(1, count - 1))))
}
