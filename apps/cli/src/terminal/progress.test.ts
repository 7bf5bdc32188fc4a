import { describe, expect, it } from "vitest"
import { bytes, createProgress, progressLine } from "./progress.ts"

describe("progress", () => {
  it("shows share, bytes, speed and the remaining time", () => {
    expect(progressLine("archive.ts", 420_000_000, 1_000_000_000, 2, 100)).toBe(
      "archive.ts  42 % ▕████████            ▏ 420 MB of 1.0 GB  210 MB/s  3 s left",
    )
  })

  it("of nothing is complete, and no line is wider than the terminal", () => {
    expect(progressLine("empty.ts", 0, 0, 1)).toContain("100 %")
    expect(progressLine("a".repeat(200), 1, 2, 1, 60).length).toBe(59)
  })

  it("draws nothing without a terminal", () => {
    const written: string[] = []
    const output = {
      isTTY: false,
      write: (text: string) => written.push(text),
    } as unknown as NodeJS.WriteStream
    const progress = createProgress("x", output)
    progress.update(1, 2)
    progress.end()
    expect(written).toEqual([])
  })

  it("is removed in the end, so that the next output stands alone", () => {
    const written: string[] = []
    const output = {
      isTTY: true,
      columns: 0,
      write: (text: string) => written.push(text),
    } as unknown as NodeJS.WriteStream
    const progress = createProgress("archive.ts", output)
    progress.update(2, 2)
    progress.end()
    progress.end()
    expect(written).toEqual([expect.stringContaining("of 2 B"), "\r\x1b[K"])
  })

  it("of a pipe, whose size nobody knows, counts what has arrived, and makes way for other output", () => {
    const written: string[] = []
    const output = {
      isTTY: true,
      write: (text: string) => written.push(text),
    } as unknown as NodeJS.WriteStream
    const progress = createProgress("archive.ts", output)
    progress.count(1_500_000, "read so far:")
    // Too soon to be drawn.
    progress.count(1_600_000, "read so far:")
    progress.end()
    expect(written).toEqual(["\r\x1b[Kread so far: 1.5 MB", "\r\x1b[K"])
  })

  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [99_949, "99.9 kB"],
    [128_032, "128 kB"],
    [999_499, "999 kB"],
    [999_500, "1.0 MB"],
    [11_600_000_000, "11.6 GB"],
  ])("writes %i bytes as %s", (count, text) => expect(bytes(count)).toBe(text))
})
