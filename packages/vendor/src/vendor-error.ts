import { type ErrorCode, UnsealError } from "@unseal/archive/errors"

/**
 * A request that the vendor's REST API did not fulfil: `ERR_STORE_DENIED` (permanent: 400, 401, 403 and everything else that
 * no retry can fix) or `ERR_STORE_UNAVAILABLE` (transient: unreachable, timeout, 5xx, 429, or an unreadable answer). The
 * message quotes what the vendor said, and nothing that was sent: no header and no secret.
 */
export class VendorError extends UnsealError {
  /** The status of the last answer; `null` if there was none. */
  readonly status: number | null

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
    const { cause, retryAfterMs, remedy } = details
    // The table's remedies for these codes are about buckets.
    super(code, message, { ...(cause !== undefined && { cause }), retryAfterMs, remedy })
    this.status = details.status ?? null
  }
}

/** Details of an unsuccessful answer. */
export interface RefusalDetails {
  readonly retryAfterMs?: number | undefined
  /** The vendor's explanation; see `wordsOf`. */
  readonly words?: string | undefined
  /** This machine's clock minus the answer's `Date`. */
  readonly clockAheadMs?: number
}

/** The vendor's `Date` has whole seconds, and the answer takes time to arrive, so a smaller difference proves nothing. */
const NOTICEABLE_MS = 10_000

/** The error for an unsuccessful answer. `what` names the request, e.g. "list the archives of project 123456". */
export function refusal(what: string, status: number, details: RefusalDetails = {}): VendorError {
  const { retryAfterMs, words, clockAheadMs = 0 } = details
  const saying = words === undefined ? "" : `; it says: ${words}`
  const known = ANSWERS[status]
  if (known !== undefined) {
    const off = Math.abs(clockAheadMs) > NOTICEABLE_MS && (status === 401 || status === 403)
    const clock = `this machine's clock is ${Math.round(Math.abs(clockAheadMs) / 1_000)} s ${clockAheadMs > 0 ? "ahead of" : "behind"} the vendor's`
    return new VendorError(
      "ERR_STORE_DENIED",
      `the vendor refused to ${what}: ${off ? `${clock}, or ` : ""}${known.sentence} (${status})${saying}`,
      {
        status,
        remedy: off ? `set this machine's clock (NTP); if that does not help, ${known.remedy}` : known.remedy,
      },
    )
  }
  if (status === 429 || status >= 500) {
    const wait =
      retryAfterMs === undefined ? "" : `, and asks for ${Math.ceil(retryAfterMs / 1_000)} s of patience`
    return new VendorError(
      "ERR_STORE_UNAVAILABLE",
      `the vendor could not ${what}: it answered ${status}${wait}${saying}`,
      { status, retryAfterMs, remedy: "try again later; the vendor's status page lists outages" },
    )
  }
  return new VendorError(
    "ERR_STORE_DENIED",
    `the vendor refused to ${what}: it answered ${status}${saying}`,
    {
      status,
      remedy: "check the base URL and the platform",
    },
  )
}

const CREDENTIALS_REMEDY =
  "check the project id, the API secret or private key, the platform and the auth scheme"

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
