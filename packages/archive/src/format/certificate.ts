/** X.509 certificates (RFC 5280) in PEM (RFC 7468), limited to what archives need: whose key, and until when. */
import { type KeyObject, X509Certificate } from "node:crypto"
import { UnsealError } from "../errors.ts"
import { keyIdOf } from "./key-ring.ts"
import { utf8Of } from "./text.ts"

/** A certificate that the vendor encrypts passwords for: the public half of a key pair, and until when it is valid. */
export interface Certificate {
  /** Its origin for messages: a file name. */
  readonly name: string
  /** Equals that of its private key: SHA-256 of the public key (SPKI, DER), hex. */
  readonly keyId: string
  readonly publicKey: KeyObject
  /** Bits of the RSA modulus; 0 if the key is not RSA. */
  readonly modulusBits: number
  /** One line, `CN=…`. */
  readonly subject: string
  /** openssl's name for it: `sha256WithRSAEncryption`. */
  readonly signatureAlgorithm: string
  readonly notBefore: Date
  readonly notAfter: Date
  /** This certificate alone, whatever else the file contains. */
  readonly pem: string
}

// The last two are openssl's name for a certificate with trust settings, and an early form of PEM.
const BLOCK = /-----BEGIN ((?:TRUSTED |X509 )?CERTIFICATE)-----([^-]*)-----END \1-----/g
/** DER of a certificate: a SEQUENCE of more than 127 bytes. */
const DER_START = [0x30, 0x82]

/**
 * The certificates in a PEM file, in order. The first is the customer's; any others are its chain. Skips text around them, and
 * private keys. Throws `ERR_KEY_INVALID` if there is none, or one can't be read.
 */
export function parseCertificates(pem: Uint8Array, name: string): readonly [Certificate, ...Certificate[]] {
  const text = utf8Of(Buffer.from(pem.buffer, pem.byteOffset, pem.byteLength))
  if (DER_START.every((byte, index) => text[index] === byte))
    throw new UnsealError(
      "ERR_KEY_INVALID",
      `${name} is not PEM but DER: convert it with openssl x509 -inform DER -in ${name} -out cert.pem`,
    )
  try {
    const [first, ...chain] = certificateBlocks(text).map((der) => certificateOf(der, name))
    if (first === undefined)
      throw new UnsealError("ERR_KEY_INVALID", `${name} holds no PEM certificate${whatElse(text)}`)
    return [first, ...chain]
  } finally {
    if (text.buffer !== pem.buffer) text.fill(0)
  }
}

function certificateBlocks(bytes: Buffer): Buffer[] {
  // Only what is public becomes a string, because a private key may be in the same file.
  const blocks: Buffer[] = []
  for (let from = nextBlock(bytes, 0); from !== -1; from = nextBlock(bytes, from + 1)) {
    const end = bytes.indexOf("-----END ", from)
    const text = bytes.subarray(from, end === -1 ? undefined : end + 64).toString("latin1")
    for (const [, , base64 = ""] of text.matchAll(BLOCK)) blocks.push(Buffer.from(base64, "base64"))
  }
  return blocks
}

function nextBlock(bytes: Buffer, from: number): number {
  const found = ["", "TRUSTED ", "X509 "]
    .map((kind) => bytes.indexOf(`-----BEGIN ${kind}CERTIFICATE-----`, from))
    .filter((index) => index !== -1)
  return found.length === 0 ? -1 : Math.min(...found)
}

function certificateOf(der: Buffer, name: string): Certificate {
  let x509: X509Certificate
  try {
    x509 = new X509Certificate(der)
  } catch (cause) {
    throw new UnsealError("ERR_KEY_INVALID", `${name} holds a certificate that can't be read`, { cause })
  }
  const { publicKey } = x509
  return {
    name,
    keyId: keyIdOf(publicKey),
    publicKey,
    modulusBits: publicKey.asymmetricKeyDetails?.modulusLength ?? 0,
    subject: x509.subject?.replaceAll("\n", ", ") ?? "",
    signatureAlgorithm: x509.signatureAlgorithm ?? x509.signatureAlgorithmOid,
    notBefore: x509.validFromDate,
    notAfter: x509.validToDate,
    pem: x509.toString(),
  }
}

function whatElse(bytes: Buffer): string {
  if (bytes.includes("CERTIFICATE REQUEST-----"))
    return ", only a certificate request: openssl req needs -x509"
  if (bytes.includes("PRIVATE KEY-----")) return ", only a private key"
  if (bytes.includes("PUBLIC KEY-----")) return ", only a public key"
  return ""
}
