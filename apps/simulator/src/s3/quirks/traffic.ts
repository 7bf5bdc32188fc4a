/** How stores react to too many requests at once. */
import type { S3Request } from "../http/handler.ts"
import type { OperationName } from "../http/routing.ts"
import { S3Error } from "../http/s3-error.ts"
import type { QuirkHooks, QuirkRow } from "./hooks.ts"

const WRITES: readonly OperationName[] = ["PutObject", "UploadPart"]

/** Refuses a request that `counts` accepts while `most` such requests are in progress. */
function atOnce(most: number, counts: (request: S3Request) => boolean, refuse: () => S3Error): QuirkHooks {
  const underWay = new Set<S3Request>()
  return {
    before(request): undefined {
      if (!counts(request)) return
      if (underWay.size >= most) throw refuse()
      underWay.add(request)
    },
    ended: (request) => void underWay.delete(request),
  }
}

export const TRAFFIC_QUIRKS = {
  "slow-down": {
    meaning: "answers 503 SlowDown to any request while three others are under way",
    create: () =>
      atOnce(
        3,
        () => true,
        () => new S3Error("SlowDown"),
      ),
  },
  "slow-down-writes": {
    meaning: "answers 503 SlowDown to a PUT while two others are under way",
    create: () =>
      atOnce(
        2,
        ({ operation }) => WRITES.includes(operation),
        () => new S3Error("SlowDown"),
      ),
  },
  "retry-after": {
    meaning: "answers 503 SlowDown with Retry-After: 1 to any request while three others are under way",
    create: () =>
      atOnce(
        3,
        () => true,
        () => new S3Error("SlowDown", undefined, {}, { "retry-after": "1" }),
      ),
  },
  "too-many-429": {
    meaning: "answers 429 TooManyRequests to any request while three others are under way",
    create: () =>
      atOnce(
        3,
        () => true,
        () => new S3Error("TooManyRequests"),
      ),
  },
  "lone-403": {
    meaning: "answers 403 AccessDenied to every seventh request",
    create() {
      let requests = 0
      return {
        before(): undefined {
          if (++requests % 7 === 0) throw new S3Error("AccessDenied")
        },
      }
    },
  },
} as const satisfies Record<string, QuirkRow>
