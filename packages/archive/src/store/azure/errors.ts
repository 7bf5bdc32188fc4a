/**
 * Translates Azure's errors. Nothing else looks at a status code or at a class of the SDK.
 *
 * The SDK's own error never becomes a `cause`: it carries the request, whose URL may hold a shared access signature, and the
 * message of a refused signature quotes what was signed. A cause keeps only what names the failure.
 */
import { type ErrorCode, UnsealError } from "../../errors.ts"
import { createPace, graceMs, SilentError, type Stage, TooSlowError } from "../http/pace.ts"
import { retryAfterMs } from "../http/retry-after.ts"
import { ResponseTooLongError, watchResponses } from "./responses.ts"

type Row = readonly [code: ErrorCode, meaning: string, remedy?: string]

const MISSING_CONTAINER = "create the container, or correct its name or the account in the store's URL"
const CREDENTIAL =
  "check the credential: AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN (it expires), AZURE_STORAGE_CONNECTION_STRING, or the identity"
const ROLE =
  "give the identity, or the SAS token, the role or permission that docs/permissions.md lists for this container, and let the account's firewall admit this machine"

/** Azure's own error codes that say more than the status. */
const BY_CODE: Readonly<Record<string, Row>> = {
  ContainerNotFound: ["ERR_STORE_DENIED", "the container does not exist", MISSING_CONTAINER],
  ContainerBeingDeleted: ["ERR_STORE_DENIED", "the container is being deleted", MISSING_CONTAINER],
  ContainerDisabled: ["ERR_STORE_DENIED", "the container is disabled"],
  ResourceNotFound: [
    "ERR_STORE_DENIED",
    "the container does not exist or may not be seen",
    MISSING_CONTAINER,
  ],
  BlobNotFound: ["ERR_OBJECT_NOT_FOUND", "there is no such object"],
  BlobArchived: [
    "ERR_OBJECT_ARCHIVED",
    "the object is in the archive tier: it must be rehydrated before it can be read",
  ],
  BlobBeingRehydrated: ["ERR_OBJECT_ARCHIVED", "the object is still being rehydrated from the archive tier"],
  BlobImmutableDueToPolicy: [
    "ERR_STORE_DENIED",
    "an immutability policy protects the object",
    "write to another container or key, or have the policy lifted",
  ],
  BlobAlreadyExists: ["ERR_DESTINATION_EXISTS", "the key holds an object already"],
  InvalidBlobType: ["ERR_DESTINATION_EXISTS", "the key holds an append blob or a page blob"],
  InvalidBlobOrBlock: [
    "ERR_DESTINATION_EXISTS",
    "the key holds another program's staged blocks, for up to a week",
    "wait until Azure drops those blocks, a week after the last of them, or have their program commit them",
  ],
  InvalidBlockList: ["ERR_UPLOAD_GONE", "the upload's staged blocks are gone"],
  BlockCountExceedsLimit: [
    "ERR_STORE_DENIED",
    "the key has too many staged blocks; Azure drops them after a week",
    "find what leaves staged blocks under the key, and wait until Azure drops them, a week after the last of them",
  ],
  SnapshotsPresent: [
    "ERR_STORE_DENIED",
    "the object has snapshots",
    "delete the snapshots, or move the object away",
  ],
  LeaseIdMissing: [
    "ERR_STORE_DENIED",
    "somebody holds a lease on the object",
    "have whoever holds the lease release or break it",
  ],
  PublicAccessNotPermitted: ["ERR_STORE_DENIED", "access without credentials is not permitted", CREDENTIAL],
  InvalidAuthenticationInfo: ["ERR_STORE_DENIED", "access is denied", CREDENTIAL],
  AuthenticationFailed: ["ERR_STORE_DENIED", "access is denied", CREDENTIAL],
  AuthorizationFailure: ["ERR_STORE_DENIED", "access is denied", ROLE],
  AuthorizationPermissionMismatch: ["ERR_STORE_DENIED", "access is denied", ROLE],
  ServerBusy: ["ERR_STORE_BUSY", "the store asks for fewer requests"],
  OperationTimedOut: ["ERR_STORE_UNAVAILABLE", "the store timed out"],
  InternalError: ["ERR_STORE_UNAVAILABLE", "the store did not answer as it should"],
  Md5Mismatch: ["ERR_STORE_UNAVAILABLE", "the bytes were changed on their way"],
  InvalidRange: ["ERR_OBJECT_CHANGED", "the object is shorter than it was"],
}

function byStatus(status: number, asksForPause: boolean): Row {
  if (status === 401 || status === 403) return ["ERR_STORE_DENIED", "access is denied"]
  if (status === 412) return ["ERR_OBJECT_CHANGED", "another version has replaced it"]
  if (status === 429 || (status === 503 && asksForPause))
    return ["ERR_STORE_BUSY", "the store asks for fewer requests"]
  // A 404 without Azure's code comes from some other server and says nothing about the object. A 409 is a passing conflict.
  if (status >= 500 || status === 404 || status === 408 || status === 409)
    return ["ERR_STORE_UNAVAILABLE", "the store did not answer as it should"]
  if (status >= 400) return ["ERR_STORE_DENIED", "the store refuses the request"]
  return ["ERR_STORE_UNAVAILABLE", "the answer is not what was asked for"]
}

/** Errors of @azure/identity when no credential is available. `AuthenticationError` is not here: it has a status of its own. */
const NO_CREDENTIAL = new Set([
  "CredentialUnavailableError",
  "AggregateAuthenticationError",
  "AuthenticationRequiredError",
])
const NO_CREDENTIAL_REMEDY =
  "give this process a credential: AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, or the identity of its machine or pod"

/** Azure refuses requests and tokens that are 15 minutes off. The answer itself took a moment, too. */
const TOLERATED_SKEW_MS = 14 * 60_000

function skewed(clockAheadMs: number): string {
  const seconds = Math.round(Math.abs(clockAheadMs) / 1000)
  return `the store's clock is ${seconds} s ${clockAheadMs > 0 ? "ahead of" : "behind"} this machine's, and Azure takes no request that is off by more than 15 minutes: set this machine's clock right`
}

/** Translates what the SDK threw while `doing` into one of the contract's errors. An `UnsealError` stays as it is. */
export function azureError(error: unknown, doing: string): UnsealError {
  if (error instanceof UnsealError) return error
  if (error instanceof ResponseTooLongError)
    return new UnsealError("ERR_STORE_UNAVAILABLE", `${doing}: ${error.message}`, { cause: error })
  const { name, status, code, pauseMs, clockAheadMs } = facts(error)
  const cause = summary(error)
  if (NO_CREDENTIAL.has(name))
    return new UnsealError(
      "ERR_STORE_UNAVAILABLE",
      `${doing}: no Azure credential is available at the moment (connection string, account key, SAS token or identity)`,
      { cause, remedy: NO_CREDENTIAL_REMEDY },
    )
  if (code === "AuthenticationFailed" && Math.abs(clockAheadMs) > TOLERATED_SKEW_MS)
    return new UnsealError("ERR_STORE_UNAVAILABLE", `${doing}: ${skewed(clockAheadMs)} (${status} ${code})`, {
      cause,
      refused: true,
      remedy: "set this machine's clock right (NTP)",
    })
  const [unsealCode, meaning, remedy] =
    BY_CODE[code] ??
    (status === undefined
      ? (["ERR_STORE_UNAVAILABLE", "the store can't be reached"] as const)
      : byStatus(status, pauseMs !== undefined))
  const numbers = [status, code].filter(Boolean).join(" ")
  return new UnsealError(unsealCode, `${doing}: ${meaning}${numbers === "" ? "" : ` (${numbers})`}`, {
    cause,
    retryAfterMs: pauseMs,
    refused: status === 401 || status === 403,
    remedy,
  })
}

/**
 * Makes one attempt of one request; the SDK's retries are off. Gives up if nothing moves for `idleTimeoutMs`, or too little
 * (pace.ts). A request with a large body calls `moved` with the bytes sent. Rejects with `signal.reason` after an abort,
 * whatever the SDK made of it, and otherwise with one of the contract's errors.
 */
export async function attempt<T>(
  doing: string,
  idleTimeoutMs: number,
  signal: AbortSignal | undefined,
  request: (signal: AbortSignal, moved: (bytes: number) => void) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted()
  const controller = new AbortController()
  const stop = () => controller.abort()
  signal?.addEventListener("abort", stop, { once: true })
  const timer = setTimeout(stop, idleTimeoutMs)
  // Azure assembles nothing, so no answer and no body has a reason to pause for minutes.
  const pace = createPace(graceMs(idleTimeoutMs), undefined, undefined, idleTimeoutMs)
  pace.run()
  let slow = false
  const moved = (bytes: number, stage: Stage) => {
    timer.refresh()
    slow ||= !pace.moved(bytes, stage)
    if (slow) stop()
  }
  watchResponses(controller.signal, (bytes) => moved(bytes, "body"))
  try {
    return await request(controller.signal, (bytes) => moved(bytes, "request"))
  } catch (error) {
    signal?.throwIfAborted()
    if (slow) throw dripping(doing)
    throw controller.signal.aborted ? silent(doing, idleTimeoutMs) : azureError(error, doing)
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener("abort", stop)
  }
}

/** The error for a connection on which nothing moves. */
export const silent = (doing: string, idleTimeoutMs: number): UnsealError =>
  new UnsealError("ERR_STORE_UNAVAILABLE", `${doing}: ${new SilentError(idleTimeoutMs).message}`, {
    silent: true,
  })

/** The error for a connection on which too little moves. */
export const dripping = (doing: string): UnsealError =>
  new UnsealError("ERR_STORE_UNAVAILABLE", `${doing}: ${new TooSlowError().message}`, { slow: true })

/** The parts of an SDK error that are used. The answer to a HEAD has no body: its code is in a header. */
function facts(error: unknown): {
  name: string
  status: number | undefined
  code: string
  pauseMs: number | undefined
  /** 0 if the answer has no date. */
  clockAheadMs: number
} {
  const { name, statusCode, code, response } = (error ?? {}) as {
    name?: string
    statusCode?: number
    code?: string
    response?: { headers?: { get?(name: string): string | undefined } }
  }
  return {
    name: name ?? "Error",
    status: statusCode,
    code: code ?? response?.headers?.get?.("x-ms-error-code") ?? "",
    pauseMs: retryAfterMs(response?.headers?.get?.("retry-after")),
    clockAheadMs: Date.parse(response?.headers?.get?.("date") ?? "") - Date.now() || 0,
  }
}

/** The first line without query strings. The lines below it quote request ids and what was signed. */
function summary(error: unknown): Error {
  const { name } = facts(error)
  const line = (error instanceof Error ? error.message : String(error)).split("\n", 1)[0] ?? ""
  const cause = new Error(line.replaceAll(/\?\S+/g, "?…").replaceAll(/\bsig=[^&\s]+/gi, "sig=…"))
  cause.name = name
  return cause
}
