import { describe, expect, it } from "vitest"
import { type ErrorCode, UnsealError } from "../../errors.ts"
import { CredentialsError } from "./connection/credentials.ts"
import { s3Error } from "./errors.ts"

const sdkError = (name: string, status?: number, message = name) =>
  Object.assign(new Error(message), {
    name,
    ...(status === undefined ? {} : { $metadata: { httpStatusCode: status } }),
  })

const translate = (error: unknown, operation = "GetObject") => s3Error(error, operation, "s3://bucket/a/b.ts")

describe("an error of the S3 SDK", () => {
  const rows: [string, number | undefined, ErrorCode][] = [
    ["AccessDenied", 403, "ERR_STORE_DENIED"],
    ["InvalidAccessKeyId", 403, "ERR_STORE_DENIED"],
    ["SignatureDoesNotMatch", 403, "ERR_STORE_DENIED"],
    ["ExpiredToken", 400, "ERR_STORE_DENIED"],
    ["InvalidObjectState", 403, "ERR_OBJECT_ARCHIVED"],
    ["InvalidToken", 400, "ERR_STORE_DENIED"],
    ["TokenRefreshRequired", 400, "ERR_STORE_DENIED"],
    ["PermanentRedirect", 301, "ERR_STORE_DENIED"],
    ["NoSuchBucket", 404, "ERR_STORE_DENIED"],
    ["RequestTimeTooSkewed", 403, "ERR_STORE_UNAVAILABLE"],
    ["NoSuchKey", 404, "ERR_OBJECT_NOT_FOUND"],
    ["NoSuchUpload", 404, "ERR_UPLOAD_GONE"],
    ["BadDigest", 400, "ERR_STORE_UNAVAILABLE"],
    ["XAmzContentChecksumMismatch", 400, "ERR_STORE_UNAVAILABLE"],
    ["IncompleteBody", 400, "ERR_STORE_UNAVAILABLE"],
    ["RequestTimeout", 400, "ERR_STORE_UNAVAILABLE"],
    ["InvalidPart", 400, "ERR_STORE_UNAVAILABLE"],
    ["ConditionalRequestConflict", 409, "ERR_STORE_UNAVAILABLE"],
    ["TemporaryRedirect", 307, "ERR_STORE_UNAVAILABLE"],
    ["SlowDown", 503, "ERR_STORE_BUSY"],
    ["SlowDown", 400, "ERR_STORE_BUSY"],
    ["SlowDownWrite", 503, "ERR_STORE_BUSY"],
    ["ThrottlingException", 400, "ERR_STORE_BUSY"],
    ["KMS.ThrottlingException", 400, "ERR_STORE_BUSY"],
    ["KMS.ThrottlingException", 403, "ERR_STORE_BUSY"],
    ["RequestLimitExceeded", 503, "ERR_STORE_BUSY"],
    ["TooManyRequestsException", 400, "ERR_STORE_BUSY"],
    ["429", 429, "ERR_STORE_BUSY"],
    ["ServiceUnavailable", 503, "ERR_STORE_UNAVAILABLE"],
    ["ServiceUnavailable", 400, "ERR_STORE_UNAVAILABLE"],
    ["InternalError", 403, "ERR_STORE_UNAVAILABLE"],
    ["KMS.KMSInternalException", 400, "ERR_STORE_UNAVAILABLE"],
    ["KMS.DisabledException", 400, "ERR_STORE_DENIED"],
    ["InternalError", 500, "ERR_STORE_UNAVAILABLE"],
    ["TooManyRequests", 429, "ERR_STORE_BUSY"],
    ["TimeoutError", undefined, "ERR_STORE_UNAVAILABLE"],
    ["SyntaxError", 200, "ERR_STORE_UNAVAILABLE"],
  ]
  for (const [name, status, code] of rows)
    it(`is ${code} for ${status ?? "no answer"} ${name}`, () => {
      const cause = sdkError(name, status)
      expect(translate(cause)).toMatchObject({ code, cause })
    })

  it("is reported with operation, place, status, name and the store's words", () => {
    expect(translate(sdkError("SlowDown", 503, "Please reduce\nyour request rate."))).toHaveProperty(
      "message",
      "GetObject of s3://bucket/a/b.ts answered 503 SlowDown: Please reduce your request rate.",
    )
    expect(translate(sdkError("404", 404, "UnknownError"), "HeadObject")).toHaveProperty(
      "message",
      "HeadObject of s3://bucket/a/b.ts answered 404",
    )
  })

  it("is a refusal for rate if a 503 says when to retry, and keeps that time", () => {
    const error = Object.assign(sdkError("ServiceUnavailable", 503), {
      $response: { headers: { "retry-after": "7" } },
    })
    expect(translate(error)).toMatchObject({ code: "ERR_STORE_BUSY", retryAfterMs: 7_000 })
  })

  it("says whether this request was refused access, or nobody could be asked", () => {
    expect(translate(sdkError("AccessDenied", 403))).toHaveProperty("refused", true)
    expect(translate(sdkError("401", 401), "HeadObject")).toHaveProperty("refused", true)
    expect(translate(new CredentialsError(sdkError("AccessDenied", 403)))).toHaveProperty(
      "refused",
      undefined,
    )
    expect(translate(sdkError("NoSuchBucket", 404))).toHaveProperty("refused", undefined)
  })

  it("names the missing permission, unless the store does", () => {
    const advice = (operation: string, message = "Access Denied") =>
      /\(this needs .*\)$/.exec(
        (translate(sdkError("AccessDenied", 403, message), operation) as Error).message,
      )?.[0]
    for (const operation of ["HeadObject", "GetObject"])
      expect(advice(operation)).toBe(
        "(this needs the permission s3:GetObject, and requestPayer=requester in the store's URL if its readers pay for the bucket)",
      )
    for (const operation of ["PutObject", "CreateMultipartUpload", "UploadPart 7", "CompleteMultipartUpload"])
      expect(advice(operation)).toBe("(this needs the permission s3:PutObject)")
    expect(advice("ListParts")).toBe("(this needs the permission s3:ListMultipartUploadParts)")
    expect(advice("AbortMultipartUpload")).toBe("(this needs the permission s3:AbortMultipartUpload)")
    expect(advice("ListMultipartUploads")).toBe("(this needs the permission s3:ListBucketMultipartUploads)")
    expect(advice("DeleteObject")).toBe("(this needs the permission s3:DeleteObject)")
    expect(advice("GetObject", "not authorized to perform: s3:GetObject")).toBeUndefined()
    expect(
      (translate(sdkError("SignatureDoesNotMatch", 403, "no match"), "PutObject") as Error).message,
    ).not.toContain("this needs")
  })

  it("names the object's storage class", () => {
    const error = Object.assign(sdkError("InvalidObjectState", 403, "not valid"), { StorageClass: "GLACIER" })
    expect(translate(error)).toHaveProperty(
      "message",
      "s3://bucket/a/b.ts is in the storage class GLACIER and can't be read before it is restored (GetObject answered 403 InvalidObjectState)",
    )
  })

  it("distinguishes credentials that may come by themselves from those that somebody must fix", () => {
    const told = (cause: unknown) => translate(new CredentialsError(cause))
    for (const [cause, reason] of [
      [sdkError("CredentialsProviderError", undefined, "connect ETIMEDOUT"), "connect ETIMEDOUT"],
      [sdkError("ServiceUnavailable", 503, "Service Unavailable"), "ServiceUnavailable: Service Unavailable"],
      [sdkError("ExpiredTokenException", 400, "Token expired"), "ExpiredTokenException: Token expired"],
      ["a thrown text", "a thrown text"],
    ] as const)
      expect(told(cause)).toMatchObject({
        code: "ERR_STORE_UNAVAILABLE",
        message: `no credentials for s3://bucket/a/b.ts are available at the moment: ${reason}`,
      })
    const words =
      "Could not resolve credentials using profile: [nobody] in configuration/credentials file(s)."
    for (const [cause, reason] of [
      [sdkError("CredentialsProviderError", undefined, words), words],
      [sdkError("AccessDenied", 403, "not authorized to assume"), "AccessDenied: not authorized to assume"],
    ] as const)
      expect(told(cause)).toMatchObject({
        code: "ERR_STORE_DENIED",
        message: `no usable credentials for s3://bucket/a/b.ts: ${reason}`,
      })
  })

  it("names the bucket's region", () => {
    const error = Object.assign(sdkError("PermanentRedirect", 301), {
      $response: { headers: { "x-amz-bucket-region": "eu-central-1" } },
    })
    expect(translate(error)).toHaveProperty("message", expect.stringContaining("is in region eu-central-1"))
    const malformed = Object.assign(sdkError("AuthorizationHeaderMalformed", 400), { Region: "eu-west-1" })
    expect(translate(malformed)).toHaveProperty("message", expect.stringContaining("is in region eu-west-1"))
  })

  it("has the reason of a host with several addresses", () => {
    const error = new AggregateError([new Error("connect ECONNREFUSED ::1:9"), new Error("the other")])
    expect(translate(error)).toHaveProperty(
      "message",
      "s3://bucket/a/b.ts did not answer GetObject: connect ECONNREFUSED ::1:9",
    )
  })

  it("becomes the signal's reason after an abort, and stays as it is if it is already translated", () => {
    const reason = new Error("shutting down")
    const signal = AbortSignal.abort(reason)
    expect(s3Error(sdkError("AbortError"), "GetObject", "s3://b/k", signal)).toBe(reason)
    const translated = new UnsealError("ERR_OBJECT_CHANGED", "changed")
    expect(translate(translated)).toBe(translated)
  })
})

it("a 404 without a name means the upload if there is one, and never the source's object in a write", () => {
  const error = Object.assign(new Error("x"), { name: "NotFound", $metadata: { httpStatusCode: 404 } })
  for (const [operation, code] of [
    ["GetObject", "ERR_OBJECT_NOT_FOUND"],
    ["UploadPart 3", "ERR_UPLOAD_GONE"],
    ["ListParts", "ERR_UPLOAD_GONE"],
    ["CompleteMultipartUpload", "ERR_UPLOAD_GONE"],
    ["CreateMultipartUpload", "ERR_STORE_UNAVAILABLE"],
    ["PutObject", "ERR_STORE_UNAVAILABLE"],
  ])
    expect(s3Error(error, operation!, "s3://bucket/key")).toMatchObject({ code })
})
