import type { Certificate } from "@unseal/archive/format/certificate"
import { SMALLEST_MODULUS_BITS } from "@unseal/archive/format/password"

/** Bits of the RSA modulus: the vendor's limit ("Creating an encrypted archiving certificate", OpenTok Encryption guide). */
export const LARGEST_BITS = 2048

/** Why the vendor should not get this certificate, each a clause. */
export function registrationProblems(certificate: Certificate, allowLarge: boolean): string[] {
  const { modulusBits, publicKey, notBefore, notAfter } = certificate
  const now = Date.now()
  if (publicKey.asymmetricKeyType !== "rsa")
    return [`its key is of type ${publicKey.asymmetricKeyType}, and the vendor takes RSA only`]
  return [
    modulusBits > LARGEST_BITS &&
      !allowLarge &&
      `its key has ${modulusBits} bits, and the vendor takes ${LARGEST_BITS} or fewer`,
    modulusBits < SMALLEST_MODULUS_BITS &&
      `its key has ${modulusBits} bits, and a password needs ${SMALLEST_MODULUS_BITS} or more`,
    notAfter.getTime() <= now && `it expired at ${notAfter.toISOString()}`,
    notBefore.getTime() > now && `it is not valid before ${notBefore.toISOString()}`,
  ].filter((problem) => problem !== false)
}
