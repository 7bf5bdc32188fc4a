import { hash, randomBytes, timingSafeEqual } from "node:crypto"
import type { Networks } from "@unseal/service/http/networks"
import type { IngestProject } from "@unseal/service/projects/projects"
import { errors, type JWTPayload, jwtVerify } from "jose"
import { parseJson } from "./body.ts"
import { Problem } from "./problem.ts"

/** What a callback brings to prove its origin. */
export interface Credentials {
  /** The Authorization header. */
  readonly authorization: string | undefined
  /** The last segment of the path. */
  readonly token: string | undefined
  /** The raw bytes. */
  readonly body: Buffer
  /** The sender's address: the connected peer's, or the one that a trusted proxy names. */
  readonly address: string | undefined
  /** Set if the project was removed from the configuration in the last few minutes. */
  readonly removed?: boolean
}

export interface AuthenticationOptions {
  /** The maximum age of a signed callback. The sender retries for 24 hours. */
  readonly maxAgeMs: number
  /** The networks that callbacks must come from, whatever else they prove. Absent: any. */
  readonly networks?: Networks
}

/** Clocks differ, so a callback may come from this far in the future. */
const CLOCK_TOLERANCE_SECONDS = 60

/**
 * A signed callback that is off by at most this much more is blamed on a wrong clock. Its sender is told to retry, and the
 * retry succeeds if the clock has been set by then.
 */
const WRONG_CLOCK_SECONDS = 15 * 60

/** Stands in for a project that doesn't exist, so that the response time does not reveal that. */
const NOBODY: IngestProject = {
  id: "",
  callbackAuth: "signed",
  signatureSecrets: [randomBytes(32).toString("hex")],
}

/** The only answer to anybody who is not the sender. Only the log says what was wrong. */
const refuse = (reason: string): Problem =>
  new Problem("unauthenticated", "the project is unknown, or the signature or token is wrong", { reason })

/**
 * Verifies that the callback comes from the sender that `project` defines, or throws a `Problem`. The project determines mode
 * and secret before anything in the request is trusted. `undefined`, a project that doesn't exist, answers like a bad signature.
 */
export async function authenticate(
  project: IngestProject | undefined,
  credentials: Credentials,
  options: AuthenticationOptions,
): Promise<void> {
  if (options.networks?.has(credentials.address) === false) throw refuse("address outside the networks")
  if (project === undefined) {
    const token = credentials.authorization === undefined ? undefined : bearer(credentials.authorization)
    if (token !== undefined) await verifySignature(token, NOBODY, options).catch(() => {})
    else equal(credentials.token ?? "", "")
    if (credentials.removed)
      throw new Problem("unavailable", "the project's configuration has just changed", {
        reason: "the project was removed from the configuration a few minutes ago",
      })
    throw refuse("unknown project")
  }
  switch (project.callbackAuth) {
    case "none":
      if (credentials.token !== undefined) throw refuse("token where none is configured")
      return
    case "token":
      if (!equal(credentials.token ?? "", project.callbackToken ?? "")) throw refuse("wrong token")
      return
    case "signed":
      return authenticateSigned(project, credentials, options)
  }
}

async function authenticateSigned(
  project: IngestProject,
  { authorization, token, body }: Credentials,
  options: AuthenticationOptions,
): Promise<void> {
  if (token !== undefined) throw refuse("token where a signature is needed")
  if (authorization === undefined)
    // The vendor may occasionally send a callback unsigned. After this answer it sends the callback again, signed.
    throw new Problem("unsigned", "the callback is not signed", { reason: "unsigned" })
  const { payloadHash, wrongTime } = await verifySignature(bearer(authorization), project, options)
  if (typeof payloadHash !== "string") throw refuse("no payload_hash")
  for (const hash of hashesOf(body))
    if (equal(payloadHash.toLowerCase(), hash)) {
      if (wrongTime === undefined) return
      throw new Problem("clock", "the callback is signed, but its time does not fit this server's clock", {
        reason: "clock",
        finding: `the signature fits, but ${wrongTime}: set this machine's clock (NTP), or the sender's is wrong`,
      })
    }
  throw refuse("payload_hash differs")
}

const bearer = (authorization: string): string => /^Bearer +(\S+) *$/i.exec(authorization)?.[1] ?? ""

/**
 * Returns the `payload_hash` claim of the JWT (RFC 7519) once one of the project's secrets verifies its HS256 signature.
 * `wrongTime` says how far off its time is, if that is the only fault and a clock may have caused it.
 */
async function verifySignature(
  jwt: string,
  project: IngestProject,
  { maxAgeMs }: AuthenticationOptions,
): Promise<{ payloadHash: unknown; wrongTime?: string }> {
  let reason = "no secret"
  for (const secret of project.signatureSecrets) {
    try {
      const { payload } = await jwtVerify(jwt, await hmacKeyOf(secret), {
        algorithms: ["HS256"],
        maxTokenAge: maxAgeMs / 1_000,
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
      })
      return { payloadHash: payload.payload_hash }
    } catch (error) {
      if (error instanceof errors.JWTExpired || error instanceof errors.JWTClaimValidationFailed) {
        const wrongTime = wrongTimeOf(error.payload, maxAgeMs / 1_000)
        if (wrongTime !== undefined) return { payloadHash: error.payload.payload_hash, wrongTime }
      }
      reason = error instanceof errors.JOSEError ? error.code : "signature not verifiable"
      // Another secret can help only if the signature did not match.
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) break
    }
  }
  throw refuse(reason)
}

/** How far off a callback's time is, as a clause; `undefined` if no clock explains it. */
function wrongTimeOf({ iat, nbf, exp }: JWTPayload, maxAgeSeconds: number): string | undefined {
  if (typeof iat !== "number") return undefined
  const now = Math.floor(Date.now() / 1_000)
  const deviations: [seconds: number, clause: string][] = [
    [iat - now, "it was made in the future by this machine's clock (iat)"],
    [now - iat - maxAgeSeconds, "it is older than UNSEAL_CALLBACK_MAX_AGE_MS (iat)"],
    [typeof nbf === "number" ? nbf - now : 0, "it is not valid yet by this machine's clock (nbf)"],
    [typeof exp === "number" ? now - exp : 0, "it has expired by this machine's clock (exp)"],
  ]
  const [seconds, clause] = deviations.reduce((most, next) => (next[0] > most[0] ? next : most))
  return seconds <= 0 || seconds > WRONG_CLOCK_SECONDS ? undefined : `${clause}, by ${Math.round(seconds)} s`
}

/** A bound on growth, far above any installation's number of secrets. */
const MAX_KEYS = 10_000
const hmacKeys = new Map<string, CryptoKey>()

/** Importing the secret takes 11 of the 47 µs that verifying a callback takes. */
async function hmacKeyOf(secret: string): Promise<CryptoKey> {
  const known = hmacKeys.get(secret)
  if (known !== undefined) return known
  const algorithm = { name: "HMAC", hash: "SHA-256" }
  const key = await crypto.subtle.importKey("raw", Buffer.from(secret), algorithm, false, ["verify"])
  if (hmacKeys.size >= MAX_KEYS) hmacKeys.clear()
  hmacKeys.set(secret, key)
  return key
}

/** SHA-256 of the raw body and of its reserialised JSON, because the sender has been seen to hash that. Hex. */
function* hashesOf(body: Buffer): Generator<string> {
  yield sha256(body)
  try {
    yield sha256(JSON.stringify(parseJson(body)))
  } catch (error) {
    if (!(error instanceof Problem)) throw error
  }
}

const sha256 = (data: Buffer | string): string => hash("sha256", data)

/** Compares two texts in constant time: digests have one length. */
const equal = (a: string, b: string): boolean =>
  timingSafeEqual(hash("sha256", a, "buffer"), hash("sha256", b, "buffer"))
