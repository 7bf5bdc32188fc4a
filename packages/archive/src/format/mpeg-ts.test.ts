import { randomBytes } from "node:crypto"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { checkFirstPackets, countSyncErrors, PACKET_SIZE, PROBE_PACKETS } from "./mpeg-ts.ts"
import { keptSize, readTail } from "./tail.ts"

function packets(count: number): Uint8Array {
  const stream = new Uint8Array(randomBytes(count * PACKET_SIZE))
  for (let at = 0; at < stream.length; at += PACKET_SIZE) stream[at] = 0x47
  return stream
}

describe("the check of the first packets", () => {
  it.each([0, 1, 2, 63, 64, 65, 200])("passes %i packets", (count) => checkFirstPackets(packets(count)))

  it("refuses a wrong key's result, with the numbers", () => {
    expect(() => checkFirstPackets(new Uint8Array(PROBE_PACKETS * PACKET_SIZE))).toThrow(
      expect.objectContaining({
        code: "ERR_NOT_MPEG_TS",
        message: expect.stringContaining("0 of the first 64 packets"),
      }),
    )
  })

  it("distinguishes a wrong IV, which damages only block 1, from a wrong key", () => {
    const stream = packets(64)
    stream[0] = 0x48
    expect(() => checkFirstPackets(stream)).toThrow(
      expect.objectContaining({
        message: expect.stringContaining("first packet has no sync byte 0x47, but 63 of 64 do"),
      }),
    )
  })

  it("tolerates a few damaged packets", () => {
    const stream = packets(64)
    for (const packet of [3, 30, 60]) stream[packet * PACKET_SIZE] = 0
    checkFirstPackets(stream)
  })
})

describe("the count of sync errors", () => {
  it("is the same however the archive is cut", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 30 }),
        fc.integer({ min: 0, max: 187 }),
        fc.integer({ min: 1, max: 700 }),
        (count, rest, step) => {
          const stream = Buffer.concat([packets(count), Buffer.alloc(rest)])
          for (let packet = 0; packet < count; packet += 3) stream[packet * PACKET_SIZE] = 0
          let errors = 0
          for (let at = 0; at < stream.length; at += step)
            errors += countSyncErrors(stream.subarray(at, at + step), at, stream.length)
          expect(errors).toBe(Math.ceil(count / 3))
        },
      ),
    )
  })
})

describe("the tail", () => {
  it.each([
    [4, "pkcs7"],
    [8, "pkcs7"],
    [12, "pkcs7"],
    [16, "pkcs7"],
  ])("of %i equal bytes behind whole packets is a padding", (padding, form) => {
    const size = 188 * 7 + padding
    const end = new Uint8Array(16).fill(padding, 16 - padding)
    expect(readTail(size, end)).toEqual({ form, padding })
    expect(keptSize(size, { form: "pkcs7", padding }, "trim")).toBe(188 * 7)
    expect(keptSize(size, { form: "pkcs7", padding }, "keep")).toBe(size)
  })

  it("of whole packets has no padding, even if the last bytes look like one", () => {
    expect(readTail(752, new Uint8Array(16).fill(16))).toEqual({ form: "unpadded", padding: 0 })
  })

  it.each([
    ["zero bytes", 188 + 4, new Uint8Array(16)],
    ["a value that differs", 188 + 4, Uint8Array.of(...Array(13).fill(0), 4, 4, 5)],
    ["a partial packet", 188 + 100, new Uint8Array(16).fill(100)],
  ])("of %s is irregular and kept", (_, size, end) => {
    const tail = readTail(size, end)
    expect(tail).toEqual({ form: "irregular", padding: 0 })
    expect(keptSize(size, tail, "trim")).toBe(size)
  })

  it("of an empty archive has no padding", () =>
    expect(readTail(0, new Uint8Array(0))).toEqual({ form: "unpadded", padding: 0 }))
})
