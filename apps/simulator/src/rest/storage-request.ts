/** The request that sets a project's storage, as strict as the vendor is ("Setting up encrypted archiving", OpenTok Encryption guide). */
import { X509Certificate } from "node:crypto"
import { z } from "zod"

const filled = z.string().min(1)

const REQUEST = z.intersection(
  z.discriminatedUnion("type", [
    z.object({
      type: z.literal("s3"),
      config: z.object({
        bucket: filled,
        accessKey: filled,
        secretKey: filled,
        endpoint: z.url({ protocol: /^https?$/ }).optional(),
        sse: z.enum(["s3", "none"]).optional(),
      }),
    }),
    z.object({
      type: z.literal("azure"),
      config: z.object({
        accountName: filled,
        accountKey: filled,
        container: filled,
        domain: filled.optional(),
      }),
    }),
  ]),
  z.object({
    fallback: z.enum(["none", "opentok", "vonage"]).optional(),
    certificate: z.string().nullable().optional(),
  }),
)

/** The target, its fallback, and the certificate in either form. */
export type StorageRequest = z.output<typeof REQUEST>

/** The vendor's limit, in bits. */
const LARGEST_KEY = 2048

/** Parses a body. Throws `RangeError` for what the vendor would refuse; the message quotes no value. */
export function parseStorageRequest(body: string): StorageRequest {
  let json: unknown
  try {
    json = JSON.parse(body)
  } catch {
    throw new RangeError("invalid JSON")
  }
  if (typeof json !== "object" || json === null || !("type" in json) || !("config" in json))
    throw new RangeError("no upload target")
  const { data, error } = REQUEST.safeParse(json)
  if (data === undefined)
    throw new RangeError(
      `invalid member ${[...new Set(error.issues.map(({ path }) => path.join(".")))].join(", ")}`,
    )
  if (data.certificate) checkCertificate(data.certificate)
  return data
}

function checkCertificate(certificate: string): void {
  const pem = certificate.includes("-----BEGIN ")
    ? certificate
    : Buffer.from(certificate, "base64").toString()
  let parsed: X509Certificate
  try {
    // PEM, or base64 of PEM. Node would also take base64 of DER, which is neither.
    if (!pem.includes("-----BEGIN CERTIFICATE-----")) throw new RangeError()
    parsed = new X509Certificate(pem)
  } catch {
    throw new RangeError("invalid certificate")
  }
  const { asymmetricKeyType, asymmetricKeyDetails } = parsed.publicKey
  if (asymmetricKeyType !== "rsa") throw new RangeError("the certificate is not of an RSA key")
  if ((asymmetricKeyDetails?.modulusLength ?? 0) > LARGEST_KEY)
    throw new RangeError(`the certificate's key has more than ${LARGEST_KEY} bits`)
}
