import { expect, test } from "vitest"
import { listedTime } from "./vendor-manifest.ts"

test("a period begins and ends with a day or a moment, in UTC, and ends now by default", () => {
  const from = Date.UTC(2023, 0, 31)
  expect(listedTime([], { from: "2023-01-31", to: "2023-02-01T18:30Z" })).toEqual({
    from,
    to: Date.UTC(2023, 1, 1, 18, 30),
  })
  const open = listedTime([], { from: "2023-01-31T00:00:00Z" })!
  expect(open.from).toBe(from)
  expect(Math.abs(open.to - Date.now())).toBeLessThan(60_000)
})

test("without a period, there are files", () => {
  expect(listedTime(["a.csv"], {})).toBeNull()
})

test.for<[string, string[], { from?: string; to?: string }, RegExp]>([
  ["nothing", [], {}, /what is the manifest\? give files/],
  ["a file and a time", ["a.csv"], { from: "2023-01-01" }, /leave out the file, or --from/],
  ["an object and a time", ["s3://a/b.csv"], { from: "2023-01-01" }, /leave out the URL, or --from/],
  ["an end alone", ["a.csv"], { to: "2023-01-01" }, /give --from as well/],
  ["a day of another calendar", [], { from: "01.02.2023" }, /--from must be a day \(UTC\)/],
  ["a day that does not exist", [], { from: "2023-01-01", to: "2023-13-01" }, /--to must be a day \(UTC\)/],
  ["a local time", [], { from: "2023-01-01T10:00" }, /--from must be a day \(UTC\)/],
])("%s is refused with a remedy", ([, paths, options, words], { expect }) => {
  expect(() => listedTime(paths, options)).toThrow(words)
})
