import type { ServerResponse } from "node:http"
import type { FieldError } from "@unseal/archive/callback"
import { z } from "zod"
import { answer } from "./answer.ts"

/** RFC 9457. `errors` names each field at fault by its JSON pointer; no value is repeated. */
export const problemSchema = z
  .object({
    type: z.literal("about:blank"),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).optional(),
  })
  .meta({ id: "Problem", description: "A problem document (RFC 9457)" })

/** Every way in which a request can fail: status and title. The name is the outcome in metrics and logs. */
export const FAILURES = {
  invalid: { status: 400, title: "Bad Request" },
  unauthenticated: { status: 401, title: "Unauthorized" },
  "not-found": { status: 404, title: "Not Found" },
  "method-not-allowed": { status: 405, title: "Method Not Allowed" },
  "too-large": { status: 413, title: "Content Too Large" },
  unsupported: { status: 415, title: "Unsupported Media Type" },
  failed: { status: 500, title: "Internal Server Error" },
  unsigned: { status: 503, title: "Service Unavailable" },
  clock: { status: 503, title: "Service Unavailable" },
  unavailable: { status: 503, title: "Service Unavailable" },
  draining: { status: 503, title: "Service Unavailable" },
} as const

export type Failure = keyof typeof FAILURES

/** A request that ends in a problem document. `detail` is a sentence for the sender, without anything that came from it. */
export class Problem extends Error {
  override readonly name = "Problem"
  readonly failure: Failure
  readonly errors: readonly FieldError[]
  /** For the log only, one of a closed set: lines are limited for each reason. */
  readonly reason: string | undefined
  /** For the log only: what of this one callback belongs to the reason. */
  readonly finding: string | undefined

  constructor(
    failure: Failure,
    detail: string,
    options: { errors?: readonly FieldError[]; reason?: string; finding?: string; cause?: unknown } = {},
  ) {
    super(detail, options.cause === undefined ? {} : { cause: options.cause })
    this.failure = failure
    this.errors = options.errors ?? []
    this.reason = options.reason
    this.finding = options.finding
  }
}

/** The vendor's own schedule begins at 5 s; others take the hint. */
const RETRY_AFTER_SECONDS = 5

export function sendProblem(response: ServerResponse, problem: Problem): void {
  const { status, title } = FAILURES[problem.failure]
  const document: z.infer<typeof problemSchema> = {
    type: "about:blank",
    title,
    status,
    detail: problem.message,
    ...(problem.errors.length > 0 ? { errors: [...problem.errors] } : {}),
  }
  answer(response, status, document, {
    "content-type": "application/problem+json; charset=utf-8",
    ...(status >= 500 && { "retry-after": String(RETRY_AFTER_SECONDS) }),
    ...(status === 401 && { "www-authenticate": "Bearer" }),
    ...(status === 405 && { allow: "GET, HEAD, POST" }),
  })
}
