/** How stores treat credentials, permissions, clocks and regions. */
import type { S3Request } from "../http/handler.ts"
import type { OperationName } from "../http/routing.ts"
import { S3Error } from "../http/s3-error.ts"
import type { ArrivingRequest, QuirkRow } from "./hooks.ts"

const OTHER_REGION = "eu-central-1"
const HOUR_MS = 3_600_000

const isLook = ({ operation }: ArrivingRequest): boolean =>
  operation === "GetObject" || operation === "HeadObject"
const NEEDS_LIST: readonly OperationName[] = ["HeadBucket", "ListObjects", "ListObjectsV2"]

/** Refuses every `every`-th request, cycling through `refusals`. */
function refuseInTurn(every: number, refusals: readonly (() => S3Error)[]) {
  let requests = 0
  return {
    before(_request: S3Request): undefined {
      if (++requests % every === 0) throw refusals[(requests / every) % refusals.length]!()
    },
  }
}

export const IDENTITY_QUIRKS = {
  denied: {
    meaning: "answers 403 AccessDenied to everything",
    create: () => ({
      before(): undefined {
        throw new S3Error("AccessDenied")
      },
    }),
  },
  "hidden-keys": {
    meaning: "answers 403 AccessDenied for a missing key, and to every listing of the bucket",
    create: () => ({
      before(request): undefined {
        if (NEEDS_LIST.includes(request.operation)) throw new S3Error("AccessDenied")
      },
      refusal: (refusal, request) =>
        refusal.code === "NoSuchKey" && isLook(request) ? new S3Error("AccessDenied") : refusal,
    }),
  },
  "plain-denials": {
    meaning: "names no permission in its 403 AccessDenied",
    create: () => ({
      refusal: (refusal) => (refusal.code === "AccessDenied" ? new S3Error("AccessDenied") : refusal),
    }),
  },
  archived: {
    meaning: "answers 403 InvalidObjectState to every GET: the objects are in the storage class GLACIER",
    create: () => ({
      reply(reply, { operation }) {
        if (operation === "GetObject" && reply.object)
          throw new S3Error("InvalidObjectState", undefined, { StorageClass: "GLACIER" })
        if (operation !== "HeadObject") return reply
        return { ...reply, headers: { ...reply.headers, "x-amz-storage-class": "GLACIER" } }
      },
    }),
  },
  "clock-ahead": {
    meaning:
      "has a clock that is an hour ahead, and answers RequestTimeTooSkewed to requests that are signed by any other clock",
    create: () => ({ clockAheadMs: HOUR_MS }),
  },
  "clock-behind": {
    meaning:
      "has a clock that is an hour behind, and answers RequestTimeTooSkewed to requests that are signed by any other clock",
    create: () => ({ clockAheadMs: -HOUR_MS }),
  },
  "other-region-301": {
    meaning: `is in ${OTHER_REGION}, and answers 301 with x-amz-bucket-region to requests signed for another region`,
    create: () => ({
      state: { region: OTHER_REGION },
      refusal: (refusal) =>
        refusal.code === "AuthorizationHeaderMalformed"
          ? new S3Error(
              "PermanentRedirect",
              undefined,
              { Region: OTHER_REGION },
              { "x-amz-bucket-region": OTHER_REGION },
            )
          : refusal,
    }),
  },
  "other-region-400": {
    meaning: `is in ${OTHER_REGION}, and answers 400 AuthorizationHeaderMalformed to requests signed for another region`,
    create: () => ({ state: { region: OTHER_REGION } }),
  },
  "redirect-307": {
    meaning: "answers the first ten requests with 307 TemporaryRedirect, as S3 does for a new bucket",
    create() {
      let left = 10
      return {
        arrive({ headers, bucket }): void {
          if (left-- > 0)
            throw new S3Error(
              "TemporaryRedirect",
              undefined,
              { Bucket: bucket },
              {
                location: `http://${headers.host}/${bucket}`,
              },
            )
        },
      }
    },
  },
  "expired-token": {
    meaning: "answers 400 ExpiredToken to the first access key that it sees, and accepts any other",
    create() {
      let expired: string | undefined
      return {
        arrive({ headers }): void {
          const [, accessKeyId] = /Credential=([^/]+)\//.exec(headers.authorization ?? "") ?? []
          expired ??= accessKeyId
          if (accessKeyId === expired) throw new S3Error("ExpiredToken")
        },
      }
    },
  },
  "throttled-400": {
    meaning: "refuses every seventh request for its rate, with a 400 that only its error name explains",
    create: () =>
      refuseInTurn(7, [
        () => new S3Error("KMS.ThrottlingException"),
        () => new S3Error("ThrottlingException"),
        () => new S3Error("RequestTimeout"),
        () => new S3Error("RequestLimitExceeded"),
      ]),
  },
  "internal-errors": {
    meaning: "answers 500 InternalError to every seventh request",
    create: () => refuseInTurn(7, [() => new S3Error("InternalError")]),
  },
} as const satisfies Record<string, QuirkRow>
