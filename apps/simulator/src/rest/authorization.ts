/** Authenticates REST requests: the tokens of both platforms, and HTTP Basic, which one of the vendor's pages asks for. */
import { createPublicKey, timingSafeEqual } from "node:crypto"
import type { IncomingHttpHeaders } from "node:http"
import { type JWTPayload, type JWTVerifyResult, jwtVerify } from "jose"

/** The credentials that a project's requests are checked against. */
export type RestCredentials =
  | { readonly scheme: "opentok" | "basic"; readonly apiSecret: string }
  /** PEM. */
  | { readonly scheme: "vonage"; readonly publicKey: string }

/** Resolves to the reason why a request is refused, or to `null`. */
export type Authenticator = (headers: IncomingHttpHeaders) => Promise<string | null>

/** OpenTok's limit. */
const LONGEST_LIFETIME_SECONDS = 300
/** The tolerated difference of a customer's clock. */
const LEEWAY_SECONDS = 5

/** Makes an authenticator. `now` is its clock, in milliseconds since the epoch. */
export function createAuthenticator(
  projectId: string,
  credentials: RestCredentials,
  now: () => number = Date.now,
): Authenticator {
  const options = () => ({ clockTolerance: LEEWAY_SECONDS, currentDate: new Date(now()) })
  if (credentials.scheme === "vonage") {
    const key = createPublicKey(credentials.publicKey)
    return async ({ authorization = "" }) => {
      const token = /^Bearer (\S+)$/.exec(authorization)?.[1]
      if (token === undefined) return "no bearer token"
      return judge(
        () => jwtVerify(token, key, { ...options(), algorithms: ["RS256"] }),
        ({ payload }) => vonageFault(payload, projectId, now() / 1_000),
      )
    }
  }
  if (credentials.scheme === "basic") {
    const expected = `Basic ${Buffer.from(`${projectId}:${credentials.apiSecret}`).toString("base64")}`
    return async ({ authorization = "" }) => (isSame(authorization, expected) ? null : "invalid credentials")
  }
  const key = new TextEncoder().encode(credentials.apiSecret)
  return async (headers) => {
    const token = headers["x-opentok-auth"]
    if (typeof token !== "string") return "no X-OPENTOK-AUTH header"
    return judge(
      () => jwtVerify(token, key, { ...options(), algorithms: ["HS256"] }),
      (token) => opentokFault(token, projectId, now() / 1_000),
    )
  }
}

async function judge(
  verify: () => Promise<JWTVerifyResult>,
  faultOf: (token: JWTVerifyResult) => string | null,
): Promise<string | null> {
  try {
    return faultOf(await verify())
  } catch (error) {
    return `invalid token (${(error as { code?: string }).code ?? "unreadable"})`
  }
}

/** Tokens without `jti`, or with `ist` in the header, are accepted: the vendor's own SDKs for Node and Ruby send them so. */
function opentokFault(
  { payload, protectedHeader }: JWTVerifyResult,
  projectId: string,
  now: number,
): string | null {
  if (payload.iss !== projectId) return "iss is not the API key"
  if ((payload.ist ?? protectedHeader.ist) !== "project") return "ist is not project"
  const fault = timeFault(payload, now)
  if (fault !== null) return fault
  const longest = Math.max(payload.exp! - payload.iat!, payload.exp! - now - LEEWAY_SECONDS)
  return longest > LONGEST_LIFETIME_SECONDS ? "exp is more than 5 minutes ahead" : null
}

function vonageFault(claims: JWTPayload, projectId: string, now: number): string | null {
  const fault = timeFault(claims, now)
  if (fault !== null) return fault
  if (typeof claims.jti !== "string" || claims.jti === "") return "jti is missing"
  return claims.application_id === projectId ? null : "application_id is not the application"
}

function timeFault({ iat, exp }: JWTPayload, now: number): string | null {
  if (typeof iat !== "number" || typeof exp !== "number") return "iat or exp is missing"
  // The vendor's own words.
  return iat > now + LEEWAY_SECONDS ? "issued time cannot be greater than current time" : null
}

function isSame(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}
