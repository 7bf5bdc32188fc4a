/** Whom the REST API lets in: the tokens of both platforms, and HTTP Basic, which one of the vendor's pages asks for. */
import { createPublicKey, timingSafeEqual } from "node:crypto"
import type { IncomingHttpHeaders } from "node:http"
import { type JWTPayload, jwtVerify } from "jose"

/** What a project's requests are checked with. */
export type RestCredentials =
  | { readonly scheme: "opentok" | "basic"; readonly apiSecret: string }
  /** PEM. */
  | { readonly scheme: "vonage"; readonly publicKey: string }

/** Why a request is refused, or `null`. */
export type Authenticator = (headers: IncomingHttpHeaders) => Promise<string | null>

/** OpenTok's limit. */
const LONGEST_LIFETIME_SECONDS = 300
/** How far a customer's clock may be off. */
const LEEWAY_SECONDS = 5

export function createAuthenticator(projectId: string, credentials: RestCredentials): Authenticator {
  if (credentials.scheme === "vonage") {
    const key = createPublicKey(credentials.publicKey)
    return async ({ authorization = "" }) => {
      const token = /^Bearer (\S+)$/.exec(authorization)?.[1]
      if (token === undefined) return "no bearer token"
      return judge(
        () => jwtVerify(token, key, { algorithms: ["RS256"], clockTolerance: LEEWAY_SECONDS }),
        (claims) =>
          commonFault(claims) ??
          (claims.application_id === projectId ? null : "application_id is not the application"),
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
      () => jwtVerify(token, key, { algorithms: ["HS256"], clockTolerance: LEEWAY_SECONDS }),
      (claims) => opentokFault(claims, projectId),
    )
  }
}

async function judge(
  verify: () => Promise<{ payload: JWTPayload }>,
  faultOf: (claims: JWTPayload) => string | null,
): Promise<string | null> {
  try {
    return faultOf((await verify()).payload)
  } catch (error) {
    return `invalid token (${(error as { code?: string }).code ?? "unreadable"})`
  }
}

function opentokFault(claims: JWTPayload, projectId: string): string | null {
  if (claims.iss !== projectId) return "iss is not the API key"
  if (claims.ist !== "project") return "ist is not project"
  const fault = commonFault(claims)
  if (fault !== null) return fault
  const now = Date.now() / 1_000
  const longest = Math.max(claims.exp! - claims.iat!, claims.exp! - now - LEEWAY_SECONDS)
  return longest > LONGEST_LIFETIME_SECONDS ? "exp is more than 5 minutes ahead" : null
}

function commonFault({ iat, exp, jti }: JWTPayload): string | null {
  if (typeof iat !== "number" || typeof exp !== "number") return "iat or exp is missing"
  if (iat > Date.now() / 1_000 + LEEWAY_SECONDS) return "iat is in the future"
  return typeof jti === "string" && jti !== "" ? null : "jti is missing"
}

function isSame(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}
