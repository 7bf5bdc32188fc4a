/** The customer's side with the `openssl` command alone, as in the OpenTok Encryption guide. Unseal is compared with it. */
import { spawn } from "node:child_process"
import { text } from "node:stream/consumers"
import { parsePassword, wipe } from "@unseal/archive/format/password"

/** The paths of a certificate and its private key. */
export interface CertificateFiles {
  readonly certificateFile: string
  readonly keyFile: string
}

export interface CertificateOptions {
  /** Bits of the RSA modulus; the vendor takes 2048 or fewer. Default 2048. */
  readonly bits?: number
  /** Encrypts the key file. Without it, anyone who can read the file can use the key. */
  readonly passphrase?: string
  /** For a TLS server's certificate, e.g. `DNS:localhost,IP:127.0.0.1`. */
  readonly subjectAltName?: string
}

/** Makes a certificate and its private key ("Creating an encrypted archiving certificate"). Replaces existing files. */
export async function createCertificate(
  { certificateFile, keyFile }: CertificateFiles,
  { bits = 2048, passphrase, subjectAltName }: CertificateOptions = {},
): Promise<void> {
  await openssl(
    [
      ...["req", "-new", "-x509", "-days", "365", "-newkey", `rsa:${bits}`, "-subj", "/CN=unseal-simulator"],
      ...["-out", certificateFile, "-keyout", keyFile],
      ...(subjectAltName === undefined ? [] : ["-addext", `subjectAltName=${subjectAltName}`]),
      ...(passphrase === undefined ? ["-nodes"] : ["-passout", "stdin"]),
    ],
    passphrase,
  )
}

export interface OpensslDecryption {
  readonly encryptedPassword: string
  readonly keyFile: string
  /** A file that holds the key file's passphrase. */
  readonly passphraseFile?: string
  readonly oaepHash?: "sha1" | "sha256"
  /** Paths of the ciphertext and of the plaintext to write. */
  readonly source: string
  readonly destination: string
}

/**
 * Decrypts an archive with the guide's three commands ("Decrypting an archive"). The second is `pkeyutl` in place of `rsautl`,
 * which openssl 3 deprecates. The last takes the key as an argument, where every user of the machine can see it.
 */
export async function decryptByOpenssl(options: OpensslDecryption): Promise<void> {
  const wrapped = await openssl(["enc", "-base64", "-d", "-A"], options.encryptedPassword)
  const hash = options.oaepHash ?? "sha1"
  const password = await openssl(
    [
      ...["pkeyutl", "-decrypt", "-inkey", options.keyFile, "-pkeyopt", "rsa_padding_mode:oaep"],
      ...["-pkeyopt", `rsa_oaep_md:${hash}`, "-pkeyopt", `rsa_mgf1_md:${hash}`],
      ...(options.passphraseFile === undefined ? [] : ["-passin", `file:${options.passphraseFile}`]),
    ],
    wrapped,
  )
  const { key, iv } = parsePassword(password)
  try {
    await openssl([
      ...["enc", "-d", "-aes-256-cbc", "-nopad", "-in", options.source, "-out", options.destination],
      ...["-K", Buffer.from(key).toString("hex"), "-iv", Buffer.from(iv).toString("hex")],
    ])
  } finally {
    wipe(password, key, iv)
  }
}

/** Runs openssl with `input` as its stdin. Resolves to its stdout. Throws `Error` with its stderr if it fails or is missing. */
async function openssl(args: readonly string[], input: string | Uint8Array = ""): Promise<Buffer> {
  const child = spawn("openssl", args, { stdio: "pipe" })
  const exit = new Promise<number | null>((resolve, reject) => {
    child.once("error", (cause) =>
      reject(new Error("the openssl command can't be run: is it installed?", { cause })),
    )
    child.once("close", resolve)
  })
  // The exit code covers a command that ends without reading all of its input.
  child.stdin.on("error", () => {})
  child.stdin.end(input)
  const chunks: Buffer[] = []
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk))
  const [code, complaint] = await Promise.all([exit, text(child.stderr)])
  if (code !== 0) throw new Error(`openssl ${args[0]} failed with exit code ${code}: ${complaint.trim()}`)
  return Buffer.concat(chunks)
}
