import { timingSafeEqual } from "node:crypto"
import { counted } from "@unseal/archive/counted"
import type { Certificate } from "@unseal/archive/format/certificate"
import type { KeyRing } from "@unseal/archive/format/key-ring"
import {
  decodeEncryptedPassword,
  encodePassword,
  generateContentKey,
  type OaepHash,
  SMALLEST_MODULUS_BITS,
  wipe,
  wrapPassword,
} from "@unseal/archive/format/password"
import { readKeyRing } from "../archives/key-options.ts"
import { readArchiveSettings } from "../config.ts"
import { EXIT } from "../terminal/exit.ts"
import { readCertificateFile } from "./encode.ts"
import { registrationProblems } from "./limits.ts"

export interface CertificateCheckOptions {
  readonly key?: string
  readonly passphraseFile?: string
  readonly allowLarge?: true
  /** What must be possible for exit code 0. */
  readonly for: "registration" | "decryption"
  readonly json?: true
}

const DAY_MS = 86_400_000
/** A certificate that expires sooner is worth a warning, because the next one should overlap it. */
const SOON_DAYS = 30

/** `unseal certificate check`: shows what the certificate is, whether it matches the key, and what it can be used for. */
export async function certificateCheckCommand(
  path: string,
  options: CertificateCheckOptions,
  signal: AbortSignal,
): Promise<void> {
  const settings = readArchiveSettings()
  const [certificate, ...chain] = await readCertificateFile(path, signal)
  const keyRing =
    options.key === undefined
      ? null
      : await readKeyRing(
          {
            key: [options.key],
            ...(options.passphraseFile === undefined ? {} : { passphraseFile: options.passphraseFile }),
          },
          settings.UNSEAL_OAEP_HASH,
          undefined,
          signal,
        )
  const registration = registrationProblems(certificate, options.allowLarge ?? false)
  const decryption = keyRing
    ? await decryptionProblems(certificate, chain, keyRing, settings.UNSEAL_OAEP_HASH, signal)
    : []
  // Archives encrypted for another key's certificate could not be decrypted.
  if (decryption.length > 0) registration.push(...decryption)

  const daysLeft = Math.floor((certificate.notAfter.getTime() - Date.now()) / DAY_MS)
  const facts = {
    subject: certificate.subject,
    keyId: certificate.keyId,
    keyBits: certificate.modulusBits,
    signature: certificate.signatureAlgorithm,
    validFrom: certificate.notBefore.toISOString(),
    validUntil: certificate.notAfter.toISOString(),
    daysLeft,
  }
  const pair = keyRing ? (decryption.length === 0 ? "proved" : "failed") : "not checked"
  if (options.json) process.stdout.write(`${JSON.stringify({ ...facts, pair, registration, decryption })}\n`)
  else {
    const verdict = (problems: readonly string[]) => (problems.length === 0 ? "ok" : problems.join("; "))
    const rows = {
      ...facts,
      pair: keyRing ? (pair === "proved" ? "a password was wrapped and unwrapped" : "failed") : "give --key",
      registration: verdict(registration),
      decryption: keyRing ? verdict(decryption) : "give --key",
    }
    for (const [name, value] of Object.entries(rows)) process.stdout.write(`${name.padEnd(14)} ${value}\n`)
  }
  if (daysLeft >= 0 && daysLeft < SOON_DAYS)
    process.stderr.write(
      `warning: ${path} is valid for ${counted(daysLeft, "more day")}: register the next one in time\n`,
    )
  if (daysLeft < 0)
    process.stderr.write(
      "archives that were recorded under an expired certificate are decrypted all the same\n",
    )
  const problems = options.for === "decryption" ? decryption : registration
  if (problems.length > 0) process.exitCode = EXIT.failed
}

/** Why the key can't decrypt archives under this certificate, each a clause. */
async function decryptionProblems(
  certificate: Certificate,
  chain: readonly Certificate[],
  keyRing: KeyRing,
  oaepHash: OaepHash,
  signal: AbortSignal,
): Promise<string[]> {
  const [key] = keyRing.describe()
  if (key?.keyId !== certificate.keyId) {
    const position = chain.findIndex(({ keyId }) => keyId === key?.keyId)
    return [
      position === -1
        ? "the key is not that of the certificate"
        : `the key is that of certificate ${position + 2} in the file, which must be the first`,
    ]
  }
  if (certificate.modulusBits < SMALLEST_MODULUS_BITS)
    return [`a key of ${certificate.modulusBits} bits wraps no password`]
  return (await proves(certificate, keyRing, oaepHash, signal))
    ? []
    : ["a password that was wrapped with the certificate did not come back from the key"]
}

async function proves(
  { publicKey }: Certificate,
  keyRing: KeyRing,
  oaepHash: OaepHash,
  signal: AbortSignal,
): Promise<boolean> {
  const password = encodePassword(generateContentKey())
  const wrapped = decodeEncryptedPassword(wrapPassword(password, publicKey, oaepHash))
  const unwrapped = await keyRing.unwrap(wrapped, signal)
  try {
    return (
      unwrapped !== null &&
      unwrapped.password.length === password.length &&
      timingSafeEqual(unwrapped.password, password)
    )
  } finally {
    wipe(password, unwrapped?.password)
  }
}
