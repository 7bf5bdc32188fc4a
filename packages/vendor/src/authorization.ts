import { createPrivateKey, type KeyObject, randomUUID } from "node:crypto"
import { UnsealError } from "@unseal/archive/errors"
import { SignJWT } from "jose"

/** The credential of a project: an API secret, or the private key of a Vonage application (PEM). */
export type VendorCredentials =
  | { readonly scheme: "opentok" | "basic"; readonly apiSecret: string }
  | { readonly scheme: "vonage"; readonly privateKey: string | Uint8Array | KeyObject }

/** The vendor refuses a token whose `exp` is more than 5 minutes after its `iat`. Its own example takes 3. */
const LIFETIME_SECONDS = 180

/** The vendor refuses tokens issued in the future, and clocks that are a few seconds fast are common. */
const BACKDATED_SECONDS = 60

/** The headers that authenticate one request. Call it for each request: a token is valid for three minutes and for one use. */
export type Authorizer = () => Promise<Readonly<Record<string, string>>>

/**
 * Creates the project's authorizer ("Sending the encrypted archiving certificate", OpenTok Encryption guide; "Authentication",
 * Vonage Video). Throws `ERR_KEY_INVALID` if the private key is not an RSA key in PEM.
 */
export function createAuthorizer(projectId: string, credentials: VendorCredentials): Authorizer {
  if (credentials.scheme === "vonage") {
    const key = rsaKeyOf(credentials.privateKey)
    return async () => ({
      authorization: `Bearer ${await lasting(new SignJWT({ application_id: projectId }), "RS256").sign(key)}`,
    })
  }
  const { scheme, apiSecret } = credentials
  if (scheme === "basic") {
    const pair = Buffer.from(`${projectId}:${apiSecret}`).toString("base64")
    return async () => ({ authorization: `Basic ${pair}` })
  }
  const key = new TextEncoder().encode(apiSecret)
  return async () => ({
    "x-opentok-auth": await lasting(new SignJWT({ ist: "project" }), "HS256")
      .setIssuer(projectId)
      .sign(key),
  })
}

/** Adds the claims that all tokens have. */
function lasting(token: SignJWT, alg: string): SignJWT {
  const now = Math.floor(Date.now() / 1_000)
  return token
    .setProtectedHeader({ alg, typ: "JWT" })
    .setIssuedAt(now - BACKDATED_SECONDS)
    .setExpirationTime(now + LIFETIME_SECONDS)
    .setJti(randomUUID())
}

function rsaKeyOf(privateKey: string | Uint8Array | KeyObject): KeyObject {
  let key: KeyObject
  try {
    key =
      typeof privateKey === "object" && "asymmetricKeyType" in privateKey
        ? privateKey
        : createPrivateKey(Buffer.from(privateKey as Uint8Array))
  } catch {
    // No cause: OpenSSL's message about a key is useless here, and may quote it.
    throw new UnsealError(
      "ERR_KEY_INVALID",
      "the application's private key is not a PEM that openssl can read",
    )
  }
  if (key.type !== "private" || key.asymmetricKeyType !== "rsa")
    throw new UnsealError(
      "ERR_KEY_INVALID",
      `the application's key is a ${key.type} key of type ${key.asymmetricKeyType ?? "none"}, not a private RSA key`,
    )
  return key
}
