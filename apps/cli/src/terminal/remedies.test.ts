import { ERROR_CODES, type ErrorCode, UnsealError } from "@unseal/archive/errors"
import { describe, expect, it, test } from "vitest"
import { remedyAtTerminal } from "./remedies.ts"

const at = (code: ErrorCode) => remedyAtTerminal(new UnsealError(code, ""))

describe("a remedy at a terminal", () => {
  it.each(Object.keys(ERROR_CODES) as ErrorCode[])("mentions no queue, worker or attempt: %s", (code) => {
    expect(at(code)).not.toMatch(/redrive|worker|attempt|submit/)
  })

  it("names the options that its reader has", () => {
    expect(at("ERR_DESTINATION_EXISTS")).toContain("--overwrite")
    expect(at("ERR_CIPHERTEXT_INVALID")).toMatch(/--max-damage.*UNSEAL_MAX_DAMAGE/)
    expect(at("ERR_NO_MATCHING_KEY")).toContain("--key")
  })

  it("is the error's own if more is known than its code says", () => {
    const remedy = "give the credentials the permission s3:GetObject"
    expect(remedyAtTerminal(new UnsealError("ERR_STORE_DENIED", "refused", { remedy }))).toBe(remedy)
    expect(remedyAtTerminal(new UnsealError("ERR_OBJECT_NOT_FOUND", "hidden", { remedy }))).toBe(remedy)
  })
})

test("the remedies of the pipeline name its settings", () => {
  expect(ERROR_CODES.ERR_DESTINATION_EXISTS.remedy).toContain("UNSEAL_EXISTING=replace")
  expect(ERROR_CODES.ERR_CIPHERTEXT_INVALID.remedy).toContain("UNSEAL_MAX_DAMAGE")
  expect(ERROR_CODES.ERR_CIPHERTEXT_INVALID.meaning).toMatch(/empty.*cut short.*not encrypted.*damaged/)
})
