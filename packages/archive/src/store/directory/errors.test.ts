import { describe, expect, it } from "vitest"
import { type ErrorCode, UnsealError } from "../../errors.ts"
import { fileError } from "./errors.ts"

const systemError = (code: string) => Object.assign(new Error(`${code}: something, open '/a'`), { code })

describe("a system error", () => {
  const rows: [string, ErrorCode][] = [
    ["EACCES", "ERR_STORE_DENIED"],
    ["EPERM", "ERR_STORE_DENIED"],
    ["EROFS", "ERR_STORE_DENIED"],
    ["ENOTDIR", "ERR_STORE_DENIED"],
    ["ENAMETOOLONG", "ERR_STORE_DENIED"],
    ["ENOENT", "ERR_OBJECT_NOT_FOUND"],
    ["ENOSPC", "ERR_STORE_FULL"],
    ["EDQUOT", "ERR_STORE_FULL"],
    ["EIO", "ERR_STORE_UNAVAILABLE"],
    ["EMFILE", "ERR_STORE_UNAVAILABLE"],
  ]
  for (const [code, expected] of rows)
    it(`${code} is ${expected}, with operation and path`, () => {
      const cause = systemError(code)
      expect(fileError(cause, "write of part 2", "/archives/a.ts")).toMatchObject({
        code: expected,
        cause,
        message: `write of part 2 of /archives/a.ts failed: ${code}${expected === "ERR_STORE_FULL" ? ", no space is left in /archives" : ""}`,
      })
    })

  it("says whose move a refusal is: about the path, its owner, or the mount", () => {
    const remedy = (code: string) => (fileError(systemError(code), "write", "/a") as UnsealError).remedy
    expect(remedy("EACCES")).toMatch(/^let the user that this process runs as/)
    expect(remedy("EROFS")).toMatch(/^mount the file system for writing/)
    expect(remedy("ENOTDIR")).toBe("correct the path")
    expect(remedy("ENOSPC")).toMatch(/^free some space/)
  })

  it("becomes the signal's reason after an abort", () => {
    const reason = new Error("shutting down")
    expect(fileError(systemError("EIO"), "read", "/a", AbortSignal.abort(reason))).toBe(reason)
  })

  it("stays as it is if it is not a system error, or is already translated", () => {
    for (const error of [
      new RangeError("part 0"),
      new UnsealError("ERR_OBJECT_CHANGED", "changed"),
      new Error("x"),
    ])
      expect(fileError(error, "read", "/a")).toBe(error)
  })
})
