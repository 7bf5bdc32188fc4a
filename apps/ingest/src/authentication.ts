import { hash, randomBytes, timingSafeEqual } from "node:crypto"
import type { IngestProject } from "@unseal/service/projects"
import { errors, type JWTPayload, jwtVerify } from "jose"
import { parseJson } from "./body.ts"
import type { Networks } from "./networks.ts"
import { Problem } from "./problem.ts"

/** What a callback brings to prove its origin. */
export interface Credentials {
  /** The Authorization header. */
  readonly authorization: string | undefined
  /** The last segment of the path. */
  readonly token: string | undefined
  /** As it came. */
  readonly body: Buffer
  /** Of the sender: the peer that is connected, or whom a trusted proxy names. */
  readonly address: string | undefined
  /** The project was configured until a few minutes ago. */
  readonly removed?: boolean
}

export interface AuthenticationOptions {
  /** How old a signed callback may be; the sender retries for 24 hours. */
  readonly maxAgeMs: number
  /** Where callbacks may come from, whatever else they prove; from anywhere if absent. */
  readonly networks?: Networks
}

/** Clocks differ: a callback may come from so far in the future. */
const CLOCK_TOLERANCE_SECONDS = 60

/**
 * What is signed, and off by no more than this, is taken for the work of a clock that is wrong: it is sent again, and a clock
 * that was set by then lets it in.
 */
const WRONG_CLOCK_SECONDS = 15 * 60

/** Stands for a project that isn't there, so that it can't be told from one that is by how long the answer takes. */
const NOBODY: IngestProject = {
  id: "",
  callbackAuth: "signed",
  signatureSecrets: [randomBytes(32).toString("hex")],
}

/** The one answer to everybody who is not the sender: what was wrong is for the log only. */
const refuse = (reason: string): Problem =>
  new Problem("unauthenticated", "the project is unknown, or the signature or token is wrong", { reason })

/**
 * Proves that the callback comes from whom `project` says, or throws a `Problem`. The project chooses mode and secret before
 * anything in the request is believed. `undefined` is a project that doesn't exist, and answers as a bad signature does.
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
    // The vendor may rarely send a callback unsigned, and sends it again, signed, when it is answered so.
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
 * The `payload_hash` claim of the JWT (RFC 7519), once its HS256 signature fits one of the project's secrets. `wrongTime` says
 * by how much its time does not fit, if that is all and may be a clock's fault.
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
      // Another secret can only help against a signature that did not fit.
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) break
    }
  }
  throw refuse(reason)
}

/** By how much the time of a callback does not fit, as a clause; `undefined` if no clock explains it. */
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

/** A bound against growth, far above the number of secrets of any installation. */
const MAX_KEYS = 10_000
const hmacKeys = new Map<string, CryptoKey>()

/** Of the 47 µs that verifying a callback takes, importing the secret is 11. */
async function hmacKeyOf(secret: string): Promise<CryptoKey> {
  const known = hmacKeys.get(secret)
  if (known !== undefined) return known
  const algorithm = { name: "HMAC", hash: "SHA-256" }
  const key = await crypto.subtle.importKey("raw", Buffer.from(secret), algorithm, false, ["verify"])
  if (hmacKeys.size >= MAX_KEYS) hmacKeys.clear()
  hmacKeys.set(secret, key)
  return key
}

/** SHA-256 of the raw body and, since the sender has been seen to hash that, of its JSON serialised again. Hex. */
function* hashesOf(body: Buffer): Generator<string> {
  yield sha256(body)
  try {
    yield sha256(JSON.stringify(parseJson(body)))
  } catch (error) {
    if (!(error instanceof Problem)) throw error
  }
}

const sha256 = (data: Buffer | string): string => hash("sha256", data)

/** Compares two texts in a time that depends on neither: digests have one length. */
const equal = (a: string, b: string): boolean =>
  timingSafeEqual(hash("sha256", a, "buffer"), hash("sha256", b, "buffer"))
