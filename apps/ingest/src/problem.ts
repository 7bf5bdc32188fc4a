import type { ServerResponse } from "node:http"
import type { FieldError } from "@unseal/vendor/callback"
import { z } from "zod"
import { sendJson } from "./send-json.ts"

/** RFC 9457. `errors` names each invalid field by its JSON pointer. No value is repeated. */
export const problemSchema = z
  .object({
    type: z.literal("about:blank"),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).optional(),
  })
  .meta({ description: "A problem document (RFC 9457)" })

/** Every way in which a request can fail: status, title and explanation. The key is the outcome in metrics and logs. */
export const PROBLEMS = {
  invalid: {
    status: 400,
    title: "Bad Request",
    meaning: "the body is not a callback, or belongs to another project",
  },
  unauthenticated: {
    status: 401,
    title: "Unauthorized",
    meaning: "the project is unknown, or the signature or token is wrong",
  },
  "not-found": { status: 404, title: "Not Found", meaning: "there is nothing under this path" },
  "method-not-allowed": {
    status: 405,
    title: "Method Not Allowed",
    meaning: "the path takes callbacks by POST only",
  },
  "too-large": { status: 413, title: "Content Too Large", meaning: "the body is larger than 16 kB" },
  unsupported: {
    status: 415,
    title: "Unsupported Media Type",
    meaning: "the body is compressed, or not application/json in UTF-8",
  },
  failed: { status: 500, title: "Internal Server Error", meaning: "Unseal failed: its log has the error" },
  unsigned: {
    status: 503,
    title: "Service Unavailable",
    meaning:
      "the callback is not signed, although the project's callbacks must be; the vendor rarely sends one unsigned",
  },
  clock: {
    status: 503,
    title: "Service Unavailable",
    meaning: "the signature is right, but its time is up to 15 minutes off: one of the clocks is wrong",
  },
  unavailable: {
    status: 503,
    title: "Service Unavailable",
    meaning:
      "Redis did not store the archive in time, the project was removed a moment ago, or the proxy in front does not name the sender",
  },
  draining: { status: 503, title: "Service Unavailable", meaning: "the process is shutting down" },
} as const

export type ProblemKind = keyof typeof PROBLEMS

/** A request that ends in a problem document. `detail` is a sentence for the sender that repeats nothing from the request. */
export class Problem extends Error {
  override readonly name = "Problem"
  readonly kind: ProblemKind
  readonly errors: readonly FieldError[]
  /** For the log only. One of a closed set, because lines are limited for each reason. */
  readonly reason: string | undefined
  /** For the log only: details of this one callback that belong to the reason. */
  readonly finding: string | undefined

  constructor(
    kind: ProblemKind,
    detail: string,
    options: { errors?: readonly FieldError[]; reason?: string; finding?: string; cause?: unknown } = {},
  ) {
    super(detail, options.cause === undefined ? {} : { cause: options.cause })
    this.kind = kind
    this.errors = options.errors ?? []
    this.reason = options.reason
    this.finding = options.finding
  }
}

/** The vendor's own schedule begins at 5 s. Other senders respect the header. */
const RETRY_AFTER_SECONDS = 5

export function sendProblem(response: ServerResponse, problem: Problem): void {
  const { status, title } = PROBLEMS[problem.kind]
  const document: z.infer<typeof problemSchema> = {
    type: "about:blank",
    title,
    status,
    detail: problem.message,
    ...(problem.errors.length > 0 ? { errors: [...problem.errors] } : {}),
  }
  sendJson(response, status, document, {
    "content-type": "application/problem+json; charset=utf-8",
    ...(status >= 500 && { "retry-after": String(RETRY_AFTER_SECONDS) }),
    ...(status === 401 && { "www-authenticate": "Bearer" }),
    ...(status === 405 && { allow: "GET, HEAD, POST" }),
  })
}
