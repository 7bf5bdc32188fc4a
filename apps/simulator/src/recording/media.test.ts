import { readFileSync } from "node:fs"
import { describe, expect, test } from "vitest"
import { extendTransportStream } from "./media.ts"
import {
  clockOffsets,
  PACKET_SIZE,
  readClock,
  readStamp,
  TICKS,
  unitHeader,
  writeClock,
  writeStamp,
} from "./packet.ts"

const composed = readFileSync(new URL("../../media/composed-640x480-20s.mpegts", import.meta.url))
const audioOnly = readFileSync(new URL("../../../../test/vectors/audio-only-12s.mpegts", import.meta.url))

const extended = (sample: Uint8Array, bytes: number, options?: { partialPacket: boolean }): Buffer =>
  Buffer.concat([...extendTransportStream(sample, bytes, options)])

/** Checks like a demultiplexer: sync bytes, counters, and clocks and decoding times that only grow (33-bit distances). */
function faultsOf(stream: Uint8Array): string[] {
  const faults: string[] = []
  const counters = new Map<number, number>()
  const clocks = new Map<number, number>()
  const times = new Map<number, number>()
  const grow = (last: Map<number, number>, pid: number, ticks: number, what: string) => {
    const before = last.get(pid)
    if (before !== undefined && (ticks - before + TICKS) % TICKS >= TICKS / 2)
      faults.push(`${what} of ${pid}: ${before} then ${ticks}`)
    last.set(pid, ticks)
  }
  for (let at = 0; at < stream.length; at += PACKET_SIZE) {
    if (stream[at] !== 0x47) faults.push(`no sync byte at ${at}`)
    const pid = ((stream[at + 1]! & 0x1f) << 8) | stream[at + 2]!
    const { pcr } = clockOffsets(stream, at)
    if (pcr !== undefined) grow(clocks, pid, readClock(stream, pcr), "PCR")
    if ((stream[at + 3]! & 0x10) === 0) continue
    const counter = stream[at + 3]! & 0x0f
    const expected = ((counters.get(pid) ?? counter - 1) + 1) & 0x0f
    if (counter !== expected) faults.push(`counter of ${pid} at ${at}: ${counter}, not ${expected}`)
    counters.set(pid, counter)
    const time = unitHeader(stream, at)?.stamps.at(-1)
    if (time !== undefined) grow(times, pid, readStamp(stream, time), "time stamp")
  }
  return faults
}

describe("an extended transport stream", () => {
  test.each([
    ["composed", composed],
    ["audio only", audioOnly],
    ["one that ends in mid-loop of its counters", composed.subarray(0, 1001 * PACKET_SIZE)],
  ])("is one valid stream over all seams: %s", (_name, sample) => {
    expect(faultsOf(extended(sample, sample.length * 20 + 5 * PACKET_SIZE))).toEqual([])
  })

  test("is not valid if its packets are only repeated", () => {
    expect(faultsOf(Buffer.concat([composed, composed]))).not.toEqual([])
  })

  test("begins with the unchanged sample", () => {
    expect(extended(composed, composed.length)).toEqual(composed)
    expect(extended(composed, composed.length * 2).subarray(0, composed.length)).toEqual(composed)
  })

  test("differs only in counters and time stamps", () => {
    const second = extended(audioOnly, audioOnly.length * 2).subarray(audioOnly.length)
    const changed = new Set<number>()
    for (let at = 0; at < audioOnly.length; at++) if (second[at] !== audioOnly[at]) changed.add(at)
    for (let at = 0; at < audioOnly.length; at += PACKET_SIZE) {
      changed.delete(at + 3)
      const stamps = [...clockOffsets(audioOnly, at).all, ...(unitHeader(audioOnly, at)?.stamps ?? [])]
      for (const offset of stamps) for (let byte = 0; byte < 5; byte++) changed.delete(offset + byte)
    }
    expect([...changed]).toEqual([])
  })

  test("continues exactly where the sample's longest stream ends", () => {
    // 300 pictures of 6,000 ticks are 1,800,000 ticks; 939 frames of audio of 1,920 ticks are more.
    const twice = extended(composed, composed.length * 2)
    const clockAt = (at: number) => readClock(twice, clockOffsets(twice, at).pcr!)
    const firstClock = 3 * PACKET_SIZE
    expect(clockAt(composed.length + firstClock) - clockAt(firstClock)).toBe(939 * 1_920)
  })

  test("wraps its time stamps at 33 bits", () => {
    const late = Uint8Array.from(audioOnly)
    for (let at = 0; at < late.length; at += PACKET_SIZE) {
      for (const offset of clockOffsets(late, at).all)
        writeClock(late, offset, (readClock(late, offset) + TICKS - 3_000_000) % TICKS)
      for (const offset of unitHeader(late, at)?.stamps ?? [])
        writeStamp(late, offset, (readStamp(late, offset) + TICKS - 3_000_000) % TICKS)
    }
    const stream = extended(late, late.length * 6)
    expect(faultsOf(stream)).toEqual([])
    expect(readClock(stream, late.length * 5 + clockOffsets(stream, 3 * PACKET_SIZE).pcr!)).toBeLessThan(
      TICKS / 2,
    )
  })

  test.each([
    [0, 0],
    [1, 0],
    [187, 0],
    [188, 188],
    [189, 188],
    [128_028, 128_028],
    [128_028 * 2 + 500, 128_028 * 2 + 376],
  ])("of %i bytes has %i in whole packets, and all of them with a partial one", (bytes, whole) => {
    expect(extended(audioOnly, bytes)).toHaveLength(whole)
    expect(extended(audioOnly, bytes, { partialPacket: true })).toHaveLength(bytes)
  })

  test("comes in chunks no longer than the sample", () => {
    let bytes = 0
    for (const chunk of extendTransportStream(audioOnly, 50_000_000)) {
      expect(chunk.length).toBeLessThanOrEqual(audioOnly.length)
      bytes += chunk.length
    }
    expect(bytes).toBe(50_000_000 - (50_000_000 % PACKET_SIZE))
  })

  test.each([
    ["is empty", new Uint8Array(0), "sample of 0 bytes"],
    ["is not whole packets", audioOnly.subarray(0, 200), "sample of 200 bytes"],
    ["has no sync bytes", new Uint8Array(376).fill(1), "no sync byte at 0"],
  ])("is refused if the sample %s", (_what, sample, message) => {
    expect(() => extended(sample, 1000)).toThrow(message)
  })

  test.each([-1, 1.5, Number.NaN])("is refused for a size of %d", (size) => {
    expect(() => extended(audioOnly, size)).toThrow(RangeError)
  })
})

describe("time stamps", () => {
  test.each([0, 1, 2 ** 15, 2 ** 30 - 1, 2 ** 30, 2 ** 32, TICKS - 1])("hold %i", (ticks) => {
    const clock = new Uint8Array(6).fill(0xff)
    writeClock(clock, 0, ticks)
    expect(readClock(clock, 0)).toBe(ticks)
    expect(clock[4]! & 0x7f).toBe(0x7f)
    const stamp = new Uint8Array(5).fill(0xff)
    writeStamp(stamp, 0, ticks)
    expect(readStamp(stamp, 0)).toBe(ticks)
    expect([stamp[0]! & 0xf1, stamp[2]! & 1, stamp[4]! & 1]).toEqual([0xf1, 1, 1])
  })
})
