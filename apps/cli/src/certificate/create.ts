import { generateKeyPair, type KeyObject } from "node:crypto"
import { promisify } from "node:util"
import { counted } from "@unseal/archive/counted"
import { keyIdOf } from "@unseal/archive/format/key-ring"
import { SMALLEST_MODULUS_BITS, wipe } from "@unseal/archive/format/password"
import { UsageError } from "../terminal/exit.ts"
import { type NewFile, refuseExisting, writeNewFiles } from "../terminal/new-files.ts"
import { LARGEST_BITS } from "./limits.ts"
import { type PassphraseOptions, readNewPassphrase } from "./new-passphrase.ts"
import { pemBytes } from "./pem-bytes.ts"
import { parseSubject, signCertificate } from "./self-signed.ts"

export interface CertificateCreateOptions extends PassphraseOptions {
  readonly out: string
  readonly keyout: string
  readonly bits: number
  readonly days: number
  readonly subject: string
  readonly allowLarge?: true
  readonly json?: true
}

/** `unseal certificate create`: makes a key pair and its certificate like the guide's openssl command. */
export async function certificateCreateCommand(
  options: CertificateCreateOptions,
  signal: AbortSignal,
): Promise<void> {
  const { out, keyout, bits, days, subject } = options
  const say = (text: string) => process.stderr.write(`${text}\n`)
  checkBits(bits, options.allowLarge ?? false, say)
  parseSubject(subject)
  const passphrasePath = options.generatePassphrase ? passphraseFileOf(keyout) : undefined
  const paths = [...(passphrasePath === undefined ? [] : [passphrasePath]), keyout, out]
  if (new Set(paths).size < paths.length) throw new UsageError(`${out} can't be both key and certificate`)
  // Checked before the user is asked for a passphrase.
  await refuseExisting(paths)

  const given = await readNewPassphrase(keyout, options, signal)
  const secrets: Uint8Array[] = given ? [given.passphrase] : []
  try {
    const pair = await promisify(generateKeyPair)("rsa", { modulusLength: bits, publicExponent: 0x10001 })
    const certificate = await signCertificate(pair, { subject, days })
    const key = exportKey(pair.privateKey, given?.passphrase)
    secrets.push(key)
    const files: NewFile[] = [
      { path: keyout, content: key, isSecret: true },
      { path: out, content: Buffer.from(certificate), isSecret: false },
    ]
    if (given && passphrasePath !== undefined) {
      const line = Buffer.concat([given.passphrase, Buffer.from("\n")])
      secrets.push(line)
      files.unshift({ path: passphrasePath, content: line, isSecret: true })
    }
    await writeNewFiles(files)

    const result = {
      ...{ certificate: out, key: keyout, keyId: keyIdOf(pair.publicKey), bits, days },
      protected: given !== null,
      ...(passphrasePath === undefined ? {} : { passphraseFile: passphrasePath }),
    }
    if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`)
    else for (const path of paths) process.stdout.write(`${path}\n`)
    say(`a key of ${bits} bits, and a certificate that is valid for ${counted(days, "day")}`)
    if (!given) say(`${keyout} has no passphrase: whoever can read it can decrypt the archives`)
    else if (given.origin !== "generated")
      say(`the workers find its passphrase in ${passphraseFileOf(keyout)}, beside the key`)
    // In this order, because archives use the certificate as soon as the vendor has it.
    const forWorkers = given ? `${keyout} and ${passphraseFileOf(keyout)}` : keyout
    say(
      `next: put ${forWorkers} into the workers' key directory, then run unseal storage set … --certificate ${out}`,
    )
  } finally {
    wipe(...secrets)
  }
}

/** Where workers and commands look for a key's passphrase. */
const passphraseFileOf = (key: string): string => `${key.replace(/\.[^./]*$/, "")}.passphrase`

function checkBits(bits: number, allowLarge: boolean, say: (text: string) => void): void {
  if (bits < SMALLEST_MODULUS_BITS)
    throw new UsageError(
      `a key of ${bits} bits can't wrap a password, which needs ${SMALLEST_MODULUS_BITS} or more`,
    )
  if (bits > LARGEST_BITS && !allowLarge)
    throw new UsageError(
      `the vendor takes keys of ${LARGEST_BITS} bits or fewer, not ${bits} (--allow-large makes one anyway)`,
    )
  if (bits > LARGEST_BITS) say(`warning: the vendor takes keys of ${LARGEST_BITS} bits or fewer, not ${bits}`)
  if (bits < 1024) say(`warning: keys of ${bits} bits have been broken in public`)
  else if (bits < 2048) say(`warning: keys of ${bits} bits are no longer considered safe: take 2048`)
}

/** The key as PKCS#8 in PEM, with a passphrase encrypted like `openssl req -keyout` does it. */
function exportKey(privateKey: KeyObject, passphrase: Buffer | undefined): Buffer {
  if (passphrase)
    return Buffer.from(
      privateKey.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase }) as string,
    )
  const der = privateKey.export({ type: "pkcs8", format: "der" })
  try {
    return pemBytes("PRIVATE KEY", der)
  } finally {
    wipe(der)
  }
}
