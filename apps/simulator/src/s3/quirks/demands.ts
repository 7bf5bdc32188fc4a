/** What bucket policies demand of requests. */

import type { OperationName } from "../http/routing.ts"
import { S3Error } from "../http/s3-error.ts"
import type { ArrivingRequest, QuirkHooks, QuirkRow } from "./hooks.ts"

const BEGINNINGS: readonly OperationName[] = ["PutObject", "CreateMultipartUpload"]

/** Refuses requests that lack one of `headers`, or that don't have the value given for it. */
function demand(
  headers: Readonly<Record<string, RegExp>>,
  isMeant: (request: ArrivingRequest) => boolean,
): QuirkHooks {
  return {
    before(request): undefined {
      if (!isMeant(request)) return
      for (const [name, form] of Object.entries(headers))
        if (!form.test(String(request.headers[name] ?? ""))) throw new S3Error("AccessDenied")
    },
  }
}

const begins = ({ operation }: ArrivingRequest): boolean => BEGINNINGS.includes(operation)
const PART_REFUSES = ["x-amz-server-side-encryption", "x-amz-acl", "x-amz-tagging", "x-amz-storage-class"]

/** Demands headers of requests that begin an object. S3 refuses the same headers on the requests that follow. */
function ofObject(headers: Readonly<Record<string, RegExp>>): QuirkHooks {
  const demanded = demand(headers, begins)
  return {
    before(request, state): undefined {
      const refused = PART_REFUSES.find((name) => request.headers[name] !== undefined)
      if (refused !== undefined && !begins(request))
        throw new S3Error("InvalidRequest", `${refused} is not supported for this operation`)
      demanded.before?.(request, state)
    },
  }
}

export const DEMAND_QUIRKS = {
  "demands-sse-kms": {
    meaning: "answers 403 to a new object without x-amz-server-side-encryption: aws:kms and a key id",
    create: () =>
      ofObject({
        "x-amz-server-side-encryption": /^aws:kms$/,
        "x-amz-server-side-encryption-aws-kms-key-id": /./,
      }),
  },
  "demands-acl": {
    meaning: "answers 403 to a new object without x-amz-acl: bucket-owner-full-control",
    create: () => ofObject({ "x-amz-acl": /^bucket-owner-full-control$/ }),
  },
  "demands-tagging": {
    meaning: "answers 403 to a new object without the tag team",
    create: () => ofObject({ "x-amz-tagging": /(^|&)team=./ }),
  },
  "demands-storage-class": {
    meaning: "answers 403 to a new object that is not for the storage class STANDARD_IA",
    create: () => ofObject({ "x-amz-storage-class": /^STANDARD_IA$/ }),
  },
  "demands-owner": {
    meaning: "answers 403 to any request without x-amz-expected-bucket-owner",
    create: () => demand({ "x-amz-expected-bucket-owner": /./ }, () => true),
  },
  "requester-pays": {
    meaning: "answers 403 to a read without x-amz-request-payer: requester",
    create: () =>
      demand({ "x-amz-request-payer": /^requester$/ }, ({ operation }) =>
        ["GetObject", "HeadObject"].includes(operation),
      ),
  },
} as const satisfies Record<string, QuirkRow>
