import type { FieldError } from "@unseal/archive/callback"
import type { Response } from "express"
import { z } from "zod"

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
  unavailable: { status: 503, title: "Service Unavailable" },
  draining: { status: 503, title: "Service Unavailable" },
} as const

export type Failure = keyof typeof FAILURES

/** A request that ends in a problem document. `detail` is a sentence for the sender, without anything that came from it. */
export class Problem extends Error {
  override readonly name = "Problem"
  readonly failure: Failure
  readonly errors: readonly FieldError[]
  /** For the log only. */
  readonly reason: string | undefined

  constructor(
    failure: Failure,
    detail: string,
    options: { errors?: readonly FieldError[]; reason?: string; cause?: unknown } = {},
  ) {
    super(detail, options.cause === undefined ? {} : { cause: options.cause })
    this.failure = failure
    this.errors = options.errors ?? []
    this.reason = options.reason
  }
}

/** The vendor's own schedule begins at 5 s; others take the hint. */
const RETRY_AFTER_SECONDS = 5

export function sendProblem(response: Response, problem: Problem): void {
  const { status, title } = FAILURES[problem.failure]
  if (status >= 500) response.set("Retry-After", String(RETRY_AFTER_SECONDS))
  if (status === 401) response.set("WWW-Authenticate", "Bearer")
  const document: z.infer<typeof problemSchema> = {
    type: "about:blank",
    title,
    status,
    detail: problem.message,
    ...(problem.errors.length > 0 ? { errors: [...problem.errors] } : {}),
  }
  response.status(status).type("application/problem+json").send(JSON.stringify(document))
}
