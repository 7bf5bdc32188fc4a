import { describe, expect, it } from "vitest"
import { ERROR_CODES, type UnsealError } from "../../errors.ts"
import { CredentialsError } from "./connection/credentials.ts"
import { s3Error } from "./errors.ts"

const sdkError = (name: string, status?: number, message = name) =>
  Object.assign(new Error(message), {
    name,
    ...(status !== undefined && { $metadata: { httpStatusCode: status } }),
  })
const remedyOf = (error: Error, operation = "GetObject") =>
  (s3Error(error, operation, "s3://bucket/a/b.ts") as UnsealError).remedy

describe("the remedy for a refusal of S3", () => {
  it("names the permission that the operation needs, or the one that AWS names", () => {
    const denied = sdkError("AccessDenied", 403)
    expect(remedyOf(denied)).toMatch(/^give the credentials the permission s3:GetObject /)
    expect(remedyOf(denied, "UploadPart 3")).toMatch(/^give the credentials the permission s3:PutObject /)
    expect(remedyOf(denied, "ListParts")).toMatch(/ s3:ListMultipartUploadParts /)
    const named = "User: arn:aws:iam::1:user/a is not authorized to perform: kms:Decrypt on resource: x"
    expect(remedyOf(sdkError("AccessDenied", 403, named))).toMatch(/ the permission kms:Decrypt /)
  })

  it.each([
    [
      sdkError("CredentialsProviderError", undefined, "Could not load credentials from any providers"),
      /^give this process credentials: AWS_ACCESS_KEY_ID /,
    ],
    [
      sdkError(
        "CredentialsProviderError",
        undefined,
        "Could not resolve credentials using profile: [nope] in configuration/credentials file(s).",
      ),
      /^correct the profile's name \(AWS_PROFILE, or profile=/,
    ],
    [
      sdkError(
        "TokenProviderError",
        undefined,
        "To refresh this SSO session run 'aws sso login' with the corresponding profile.",
      ),
      /^log in with aws sso login/,
    ],
    [
      sdkError("CredentialsProviderError", undefined, "Command failed: vault read"),
      /^run the profile's credential_process/,
    ],
    [sdkError("AccessDenied", 403, "Not authorized to perform sts:AssumeRole"), /trust policy/],
    [sdkError("ServiceUnavailable", 503), /service that issues the credentials/],
  ])("names credentials where there are none, and never the store: %s", (cause, remedy) => {
    const said = remedyOf(new CredentialsError(cause))
    expect(said).toMatch(remedy)
    expect(said).not.toMatch(/network|health|s3:/)
  })

  it.each([
    ["NoSuchBucket", 404, /^create the bucket/],
    ["InvalidAccessKeyId", 403, /AWS_ACCESS_KEY_ID/],
    ["SignatureDoesNotMatch", 403, /AWS_SECRET_ACCESS_KEY/],
    ["ExpiredToken", 400, /^renew the credentials/],
    ["RequestTimeTooSkewed", 403, /clock/],
  ] as const)("%s", (name, status, remedy) => {
    expect(remedyOf(sdkError(name, status))).toMatch(remedy)
  })

  it("names the region that the bucket is in", () => {
    const $response = { headers: { "x-amz-bucket-region": "eu-central-1" } }
    const error = Object.assign(sdkError("PermanentRedirect", 301), { $response })
    expect(remedyOf(error)).toBe("add region=eu-central-1 to the store's URL")
  })

  it("is that of the error's code if nothing more is known", () => {
    expect(remedyOf(sdkError("InternalError", 500))).toBe(ERROR_CODES.ERR_STORE_UNAVAILABLE.remedy)
    expect(remedyOf(sdkError("MalformedXML", 400))).toBe(ERROR_CODES.ERR_STORE_DENIED.remedy)
  })
})
