import { describe, expect, it } from "vitest"
import { type ErrorCode, UnsealError } from "../errors.ts"
import { s3Error } from "./s3-errors.ts"

const sdkError = (name: string, status?: number, message = name) =>
  Object.assign(new Error(message), {
    name,
    ...(status === undefined ? {} : { $metadata: { httpStatusCode: status } }),
  })

const translate = (error: unknown, operation = "GetObject") => s3Error(error, operation, "s3://bucket/a/b.ts")

describe("what the S3 SDK throws", () => {
  const rows: [string, number | undefined, ErrorCode][] = [
    ["AccessDenied", 403, "ERR_STORE_DENIED"],
    ["InvalidAccessKeyId", 403, "ERR_STORE_DENIED"],
    ["SignatureDoesNotMatch", 403, "ERR_STORE_DENIED"],
    ["ExpiredToken", 400, "ERR_STORE_DENIED"],
    ["InvalidObjectState", 403, "ERR_STORE_DENIED"],
    ["CredentialsProviderError", undefined, "ERR_STORE_DENIED"],
    ["PermanentRedirect", 301, "ERR_STORE_DENIED"],
    ["NoSuchBucket", 404, "ERR_STORE_DENIED"],
    ["RequestTimeTooSkewed", 403, "ERR_STORE_UNAVAILABLE"],
    ["NoSuchKey", 404, "ERR_OBJECT_NOT_FOUND"],
    ["NoSuchUpload", 404, "ERR_OBJECT_NOT_FOUND"],
    ["BadDigest", 400, "ERR_STORE_UNAVAILABLE"],
    ["XAmzContentChecksumMismatch", 400, "ERR_STORE_UNAVAILABLE"],
    ["IncompleteBody", 400, "ERR_STORE_UNAVAILABLE"],
    ["RequestTimeout", 400, "ERR_STORE_UNAVAILABLE"],
    ["InvalidPart", 400, "ERR_STORE_UNAVAILABLE"],
    ["ConditionalRequestConflict", 409, "ERR_STORE_UNAVAILABLE"],
    ["SlowDown", 503, "ERR_STORE_UNAVAILABLE"],
    ["InternalError", 500, "ERR_STORE_UNAVAILABLE"],
    ["TooManyRequests", 429, "ERR_STORE_UNAVAILABLE"],
    ["TimeoutError", undefined, "ERR_STORE_UNAVAILABLE"],
    ["SyntaxError", 200, "ERR_STORE_UNAVAILABLE"],
  ]
  for (const [name, status, code] of rows)
    it(`is ${code} for ${status ?? "no answer"} ${name}`, () => {
      const cause = sdkError(name, status)
      expect(translate(cause)).toMatchObject({ code, cause })
    })

  it("is told with operation, place, status, name and the store's words", () => {
    expect(translate(sdkError("SlowDown", 503, "Please reduce\nyour request rate."))).toHaveProperty(
      "message",
      "GetObject of s3://bucket/a/b.ts answered 503 SlowDown: Please reduce your request rate.",
    )
    expect(translate(sdkError("404", 404, "UnknownError"), "HeadObject")).toHaveProperty(
      "message",
      "HeadObject of s3://bucket/a/b.ts answered 404",
    )
  })

  it("says what a 403 to HEAD may mean, too", () => {
    expect(translate(sdkError("403", 403, "UnknownError"), "HeadObject")).toHaveProperty(
      "message",
      expect.stringContaining("answers 403 for a key that does not exist, too"),
    )
  })

  it("says in which region a bucket is", () => {
    const error = Object.assign(sdkError("PermanentRedirect", 301), {
      $response: { headers: { "x-amz-bucket-region": "eu-central-1" } },
    })
    expect(translate(error)).toHaveProperty("message", expect.stringContaining("is in region eu-central-1"))
  })

  it("has the reason of a host with several addresses", () => {
    const error = new AggregateError([new Error("connect ECONNREFUSED ::1:9"), new Error("the other")])
    expect(translate(error)).toHaveProperty(
      "message",
      "s3://bucket/a/b.ts did not answer GetObject: connect ECONNREFUSED ::1:9",
    )
  })

  it("is the reason of the signal after an abort, and stays what it is if it is translated already", () => {
    const reason = new Error("shutting down")
    const signal = AbortSignal.abort(reason)
    expect(s3Error(sdkError("AbortError"), "GetObject", "s3://b/k", signal)).toBe(reason)
    const translated = new UnsealError("ERR_OBJECT_CHANGED", "changed")
    expect(translate(translated)).toBe(translated)
  })
})
