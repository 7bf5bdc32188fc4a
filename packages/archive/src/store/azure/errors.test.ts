import { inspect } from "node:util"
import { describe, expect, it } from "vitest"
import { type ErrorCode, UnsealError } from "../../errors.ts"
import { attempt, azureError } from "./errors.ts"

/** The visible properties of the SDK's `RestError`. */
const restError = (statusCode?: number, code?: string, message = "failed") =>
  Object.assign(new Error(message), { name: "RestError", statusCode, code })

describe("the remedy of an SDK error", () => {
  const rows: [unknown, RegExp][] = [
    [restError(404, "ContainerNotFound"), /^create the container/],
    [restError(403, "AuthenticationFailed"), /^check the credential: AZURE_STORAGE_KEY/],
    [restError(403, "AuthorizationPermissionMismatch"), /role or permission that docs\/permissions.md lists/],
    [restError(409, "InvalidBlobOrBlock"), /a week/],
    [restError(412, "LeaseIdMissing"), /lease/],
    [
      Object.assign(new Error("none"), { name: "CredentialUnavailableError" }),
      /^give this process a credential/,
    ],
    [restError(503), /^check the store's health/],
  ]
  it.each(rows)("says whose move it is: %s", (error, remedy) => {
    expect(azureError(error, "reading a/b").remedy).toMatch(remedy)
  })
})

describe("an SDK error", () => {
  const rows: [unknown, ErrorCode][] = [
    [restError(404, "ContainerNotFound"), "ERR_STORE_DENIED"],
    [restError(404, "BlobNotFound"), "ERR_OBJECT_NOT_FOUND"],
    [restError(404), "ERR_STORE_UNAVAILABLE"],
    [restError(401, "NoAuthenticationInformation"), "ERR_STORE_DENIED"],
    [restError(400, "InvalidAuthenticationInfo"), "ERR_STORE_DENIED"],
    [restError(403, "AuthenticationFailed"), "ERR_STORE_DENIED"],
    [restError(403, "AuthorizationPermissionMismatch"), "ERR_STORE_DENIED"],
    [restError(403), "ERR_STORE_DENIED"],
    [restError(409, "BlobAlreadyExists"), "ERR_DESTINATION_EXISTS"],
    [restError(409, "BlobArchived"), "ERR_OBJECT_ARCHIVED"],
    [restError(409, "BlobBeingRehydrated"), "ERR_OBJECT_ARCHIVED"],
    [restError(503, "ServerBusy"), "ERR_STORE_BUSY"],
    [restError(500, "OperationTimedOut"), "ERR_STORE_UNAVAILABLE"],
    [restError(409, "BlobImmutableDueToPolicy"), "ERR_STORE_DENIED"],
    [restError(409, "OperationConflict"), "ERR_STORE_UNAVAILABLE"],
    [restError(412, "ConditionNotMet"), "ERR_OBJECT_CHANGED"],
    [restError(412, "LeaseIdMissing"), "ERR_STORE_DENIED"],
    [restError(400, "InvalidBlockList"), "ERR_UPLOAD_GONE"],
    [restError(400, "Md5Mismatch"), "ERR_STORE_UNAVAILABLE"],
    [restError(400, "InvalidMetadata"), "ERR_STORE_DENIED"],
    [restError(408), "ERR_STORE_UNAVAILABLE"],
    [restError(429), "ERR_STORE_BUSY"],
    [restError(500, "OperationTimedOut"), "ERR_STORE_UNAVAILABLE"],
    [restError(503), "ERR_STORE_UNAVAILABLE"],
    [restError(undefined, "REQUEST_SEND_ERROR"), "ERR_STORE_UNAVAILABLE"],
    [restError(undefined, "ENOTFOUND"), "ERR_STORE_UNAVAILABLE"],
    [restError(undefined, "PARSE_ERROR"), "ERR_STORE_UNAVAILABLE"],
    [Object.assign(new Error("none"), { name: "CredentialUnavailableError" }), "ERR_STORE_UNAVAILABLE"],
    [Object.assign(new Error("none"), { name: "AggregateAuthenticationError" }), "ERR_STORE_UNAVAILABLE"],
    [Object.assign(new Error("no"), { name: "AuthenticationError", statusCode: 401 }), "ERR_STORE_DENIED"],
    [
      Object.assign(new Error("?"), { name: "AuthenticationError", statusCode: 503 }),
      "ERR_STORE_UNAVAILABLE",
    ],
    ["a thrown text", "ERR_STORE_UNAVAILABLE"],
    [undefined, "ERR_STORE_UNAVAILABLE"],
  ]
  for (const [error, code] of rows) {
    const { name, statusCode, code: azureCode } = Object(error)
    it(`is ${code}: ${[name, statusCode, azureCode].filter(Boolean).join(" ") || String(error)}`, () => {
      expect(azureError(error, "doing it")).toMatchObject({
        code,
        message: expect.stringContaining("doing it: "),
      })
    })
  }

  for (const [ahead, words] of [
    [3600, "3600 s ahead of"],
    [-1800, "1800 s behind"],
  ] as const)
    it(`names the clocks if they are ${ahead} s apart`, () => {
      const headers = { get: () => new Date(Date.now() + ahead * 1000 + 400).toUTCString() }
      const error = Object.assign(restError(403, "AuthenticationFailed"), { response: { headers } })
      const { code, message } = azureError(error, "doing it")
      expect(code).toBe("ERR_STORE_UNAVAILABLE")
      expect(message).toContain("this machine's")
      const [, seconds] = /clock is (\d+) s (?:ahead|behind)/.exec(message) ?? []
      expect(Math.abs(Number(seconds) - Math.abs(ahead))).toBeLessThanOrEqual(2)
      expect(message).toContain(words.replace(/^\d+ s /, ""))
    })

  it("is a denial if the clocks agree", () => {
    const headers = { get: () => new Date(Date.now() + 60_000).toUTCString() }
    const error = Object.assign(restError(403, "AuthenticationFailed"), { response: { headers } })
    expect(azureError(error, "doing it").code).toBe("ERR_STORE_DENIED")
  })

  it("has its code in a header if it answers a HEAD", () => {
    const headers = { get: (name: string) => (name === "x-ms-error-code" ? "ContainerNotFound" : undefined) }
    const error = Object.assign(restError(404), { response: { headers } })
    expect(azureError(error, "doing it").message).toBe(
      "doing it: the container does not exist (404 ContainerNotFound)",
    )
  })

  it("says when to retry, and whether access was refused", () => {
    const headers = { get: (name: string) => (name === "retry-after" ? "7" : undefined) }
    const later = Object.assign(restError(503), { response: { headers } })
    expect(azureError(later, "doing it")).toMatchObject({ code: "ERR_STORE_BUSY", retryAfterMs: 7_000 })
    expect(azureError(restError(403, "AuthorizationFailure"), "doing it")).toHaveProperty("refused", true)
    expect(azureError(restError(404, "ContainerNotFound"), "doing it")).toHaveProperty("refused", undefined)
  })

  it("that is already translated stays as it is", () => {
    const error = new UnsealError("ERR_OBJECT_CHANGED", "changed")
    expect(azureError(error, "doing it")).toBe(error)
  })

  it("leaves no query string and nothing signed in its cause", () => {
    const error = restError(
      403,
      "AuthenticationFailed",
      "GET https://a/b?sv=1&sig=SECRET failed\nString to sign: SECRET",
    )
    const shown = inspect(azureError(error, "doing it"), { depth: 10, showHidden: true })
    expect(shown).toContain("GET https://a/b?… failed")
    expect(shown).not.toContain("SECRET")
  })
})

describe("an attempt", () => {
  const untilAborted = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(new Error("AbortError"))))

  it("rejects with the reason of an abort", async () => {
    const controller = new AbortController()
    const reason = new Error("shutting down")
    const attempted = attempt("doing it", 60_000, controller.signal, untilAborted)
    controller.abort(reason)
    await expect(attempted).rejects.toBe(reason)
  })

  it("is given up when nothing moves", async () => {
    await expect(attempt("doing it", 20, undefined, untilAborted)).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
      message: "doing it: nothing moved for 0.02 s",
    })
  })

  it("is given up when too little moves in one window, however regularly", async () => {
    let drips = 0
    const dripping = attempt("doing it", 200, undefined, async (signal, moved) => {
      const drip = setInterval(() => {
        drips++
        moved(1)
      }, 10)
      await untilAborted(signal).finally(() => clearInterval(drip))
    })
    await expect(dripping).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
      message: "doing it: less than 4096 bytes a second moved",
    })
    // Each drip takes at least its 10 ms, however slow the machine is. The allowance of five minutes would be 200 drips.
    expect(drips).toBeLessThan(30)
  }, 10_000)

  it("sends nothing after an abort", async () => {
    let requests = 0
    const attempted = attempt("doing it", 60_000, AbortSignal.abort("why"), async () => requests++)
    await expect(attempted).rejects.toBe("why")
    expect(requests).toBe(0)
  })
})
