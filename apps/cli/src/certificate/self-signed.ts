import { type KeyObject, randomBytes, webcrypto } from "node:crypto"
import type { JsonName } from "@peculiar/x509"
import { UsageError } from "../terminal/exit.ts"
import { x509 } from "./x509.ts"

const { AuthorityKeyIdentifierExtension, BasicConstraintsExtension, Name } = x509
const { SubjectKeyIdentifierExtension, X509CertificateGenerator } = x509

const SIGNING = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }
const DAY_MS = 86_400_000

/**
 * Makes a certificate like `openssl req -new -x509`: X.509 version 3, self-signed with SHA-256, a random serial number, and the
 * extensions of openssl's own configuration. PEM.
 */
export async function signCertificate(
  { publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject },
  { subject, days }: { subject: string; days: number },
): Promise<string> {
  const keys = {
    publicKey: publicKey.toCryptoKey(SIGNING, true, ["verify"]),
    privateKey: privateKey.toCryptoKey(SIGNING, false, ["sign"]),
  }
  const notBefore = new Date()
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serialNumber(),
      name: parseSubject(subject),
      notBefore,
      notAfter: new Date(notBefore.getTime() + days * DAY_MS),
      keys,
      signingAlgorithm: SIGNING,
      extensions: [
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        await AuthorityKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        new BasicConstraintsExtension(true, undefined, true),
      ],
    },
    webcrypto,
  )
  return `${certificate.toString("pem").trim()}\n`
}

/** At most 20 bytes, positive and not 0 (RFC 5280, section 4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(20)
  bytes[0] = (bytes[0]! & 0x7f) | 0x40
  return bytes.toString("hex")
}

/** Parses `/CN=archives/O=Acme` as openssl's `-subj` does. A backslash escapes the next character. */
export function parseSubject(text: string): JsonName {
  const fail = (why: string): never => {
    throw new UsageError(`the subject ${why}: it is written as /CN=archives/O=Acme`)
  }
  if (!text.startsWith("/")) fail("does not begin with /")
  const parts = [...text.slice(1).matchAll(/((?:\\.|[^\\/])*)(?:\/|$)/gs)].map(([, part = ""]) => part)
  const name = parts
    .filter((part) => part !== "")
    .map((part) => {
      const [, type = "", value = ""] =
        /^([A-Za-z][\w.]*|\d+(?:\.\d+)+)=(.*)$/s.exec(part) ?? fail("has a part without =")
      if (value === "") fail(`has nothing for ${type}`)
      return { [type]: [value.replace(/\\(.)/gs, "$1")] }
    })
  if (name.length === 0) fail("is empty")
  try {
    new Name(name).toArrayBuffer()
  } catch {
    fail("names an unknown field, or gives one a value that it can't have")
  }
  return name
}
