import { type ErrorCode, UnsealError } from "@unseal/archive/errors"

/**
 * A request that the vendor's REST API did not fulfil: `ERR_STORE_DENIED` (permanent: 400, 401, 403 and whatever else no
 * repetition can fix) or `ERR_STORE_UNAVAILABLE` (transient: unreachable, timeout, 5xx, 429, an answer that can't be
 * understood). The message is a plain sentence without any header, body or secret.
 */
export class VendorError extends UnsealError {
  /** Of the last answer; `null` if there was none. */
  readonly status: number | null
  readonly #remedy: string

  constructor(
    code: Extract<ErrorCode, "ERR_STORE_DENIED" | "ERR_STORE_UNAVAILABLE">,
    message: string,
    details: {
      readonly remedy: string
      readonly status?: number | null
      readonly retryAfterMs?: number | undefined
      readonly cause?: unknown
    },
  ) {
    const { cause, retryAfterMs } = details
    super(code, message, { ...(cause !== undefined && { cause }), retryAfterMs })
    this.status = details.status ?? null
    this.#remedy = details.remedy
  }

  // The table's remedies for these codes are about buckets.
  override get remedy(): string {
    return this.#remedy
  }
}

/** What an answer that is not a success means; `what` says what was asked, e.g. "list the archives of project 123456". */
export function refusal(what: string, status: number, retryAfterMs?: number): VendorError {
  const known = ANSWERS[status]
  if (known !== undefined)
    return new VendorError(
      "ERR_STORE_DENIED",
      `the vendor refused to ${what}: ${known.sentence} (${status})`,
      {
        status,
        remedy: known.remedy,
      },
    )
  if (status === 429 || status >= 500) {
    const wait =
      retryAfterMs === undefined ? "" : `, and asks for ${Math.ceil(retryAfterMs / 1_000)} s of patience`
    return new VendorError(
      "ERR_STORE_UNAVAILABLE",
      `the vendor could not ${what}: it answered ${status}${wait}`,
      { status, retryAfterMs, remedy: "try again later; the vendor's status page tells of outages" },
    )
  }
  return new VendorError("ERR_STORE_DENIED", `the vendor refused to ${what}: it answered ${status}`, {
    status,
    remedy: "check the base URL and the platform",
  })
}

const CREDENTIALS_REMEDY =
  "check the project id, the API secret or private key, the platform and the auth scheme; a clock that is minutes off makes every token invalid"

const ANSWERS: Readonly<Record<number, { readonly sentence: string; readonly remedy: string }>> = {
  400: {
    sentence: "the request has invalid JSON, or no upload target that it accepts",
    remedy: "check the target and the certificate: --dry-run shows what is sent",
  },
  401: { sentence: "the request is not authenticated", remedy: CREDENTIALS_REMEDY },
  403: {
    sentence: "the project id or the secret is wrong, or the project may not do this",
    remedy: CREDENTIALS_REMEDY,
  },
  404: {
    sentence: "there is no such project or path",
    remedy: "check the project id, the base URL and the platform",
  },
}
