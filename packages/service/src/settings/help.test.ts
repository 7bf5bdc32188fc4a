import { describe, expect, it } from "vitest"
import { helpRowsOf, processHelp } from "./help.ts"
import { SETTINGS } from "./table.ts"

describe("the help of a process", () => {
  it("shows each setting with its default, and that a file may hold a secret", () => {
    const help = processHelp("unseal clock", "Tells the time.", [
      { name: "CLOCK_ZONE", default: "utc", meaning: "the `zone`, as in [the list](zones.md)" },
      { name: "CLOCK_KEY", meaning: "a secret", secret: true },
    ])
    expect(help).toContain("Usage: unseal clock\n\nTells the time.\n")
    expect(help).toContain("  CLOCK_ZONE=utc\n      the zone, as in the list\n")
    expect(help).toContain("  CLOCK_KEY\n      a secret (or CLOCK_KEY_FILE)\n")
  })

  it.each(["ingest", "worker"] as const)("lists every setting that %s reads, and no other", (process) => {
    const listed = helpRowsOf(process).map(({ name }) => name)
    const read = Object.entries(SETTINGS).filter(([, { for: readers }]) =>
      readers.some((reader) => reader === process),
    )
    expect(listed).toEqual(read.map(([name]) => name))
  })

  it("has the process's own default where processes differ", () => {
    const port = (process: "ingest" | "worker") =>
      helpRowsOf(process).find(({ name }) => name === "UNSEAL_ADMIN_PORT")?.default
    expect([port("ingest"), port("worker")]).toEqual(["9090", "9091"])
  })

  it("keeps to the width of a terminal", () => {
    const lines = processHelp("unseal worker", "word ".repeat(50).trim(), helpRowsOf("worker")).split("\n")
    const long = lines.filter((line) => line.length > 80 && line.trim().includes(" "))
    expect(long).toEqual([])
  })
})
