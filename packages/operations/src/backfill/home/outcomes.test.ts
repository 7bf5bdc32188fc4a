import fc from "fast-check"
import { expect, test } from "vitest"
import { decodeOutcomes, encodeOutcomes, type LineOutcome, OUTCOMES, reportRow } from "./outcomes.ts"

const row = (fields: Partial<LineOutcome> = {}): LineOutcome => ({
  ...{ line: 1, projectId: "100001", archiveId: "a", outcome: "committed", code: "", reason: "", jobId: "" },
  ...{ at: "2026-01-01T00:00:00.000Z", ...fields },
})

test("outcomes are read as they were written, whatever a reason holds", () => {
  const text = fc.string({ unit: fc.constantFrom('"', ",", "\n", "\r", "a", "ü", " ") })
  fc.assert(
    fc.property(
      fc.array(fc.record({ reason: text, outcome: fc.constantFrom(...OUTCOMES), line: fc.nat() })),
      (some) => {
        const rows = some.map(row)
        expect(decodeOutcomes(encodeOutcomes(rows))).toEqual(rows)
      },
    ),
  )
})

test.each([
  ["nothing", ""],
  ["another header", encodeOutcomes([row()]).replace("line", "row")],
  ["a row cut short", encodeOutcomes([row()]).slice(0, -40)],
  ["an unknown outcome", encodeOutcomes([row()]).replace("committed", "lost")],
  ["a quote without an end", encodeOutcomes([row({ reason: '"' })]).slice(0, -45)],
])("%s are no outcomes", (_, text) => {
  expect(decodeOutcomes(text)).toBeNull()
})

test("a report says what to do about a dead letter, and nothing about a commit", () => {
  expect(reportRow(row())).toMatch(/,\n$/)
  expect(reportRow(row({ outcome: "dead-letter", code: "ERR_NO_MATCHING_KEY" }))).not.toMatch(/,\n$/)
})
