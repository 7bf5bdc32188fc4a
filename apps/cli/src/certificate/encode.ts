import { isUnsealError } from "@unseal/archive/errors"
import { type Certificate, parseCertificates } from "@unseal/archive/format/certificate"
import { readSmallFile } from "@unseal/archive/small-file"
import { encodeCertificate } from "@unseal/vendor/upload-target"
import { UsageError } from "../terminal/exit.ts"
import { unread } from "../terminal/unread.ts"

/** `unseal certificate encode`: prints the certificate in the two forms that the vendor's REST API accepts. */
export async function certificateEncodeCommand(
  path: string,
  options: { readonly form: "base64" | "newlines" | "both"; readonly json?: true },
  signal: AbortSignal,
): Promise<void> {
  const [{ pem }, ...chain] = await readCertificateFile(path, signal)
  if (chain.length > 0)
    process.stderr.write(
      `${path} holds ${chain.length + 1} certificates: this is the first, the customer's own\n`,
    )
  const forms = options.form === "both" ? (["base64", "newlines"] as const) : [options.form]
  const encoded = forms.map((form) => [form, encodeCertificate(pem, form)] as const)
  if (options.json) return void process.stdout.write(`${JSON.stringify(Object.fromEntries(encoded))}\n`)
  for (const [form, text] of encoded) {
    // As in a JSON document, with quotes.
    const literal = form === "newlines" ? JSON.stringify(text) : text
    process.stdout.write(`${forms.length > 1 ? `${form.padEnd(9)} ` : ""}${literal}\n`)
  }
}

/** The certificates in a PEM file. Throws the errors of `parseCertificates`, and `UsageError` for an unreadable file. */
export async function readCertificateFile(
  path: string,
  signal: AbortSignal,
): Promise<readonly [Certificate, ...Certificate[]]> {
  let pem: Buffer
  try {
    pem = (await readSmallFile(path, { pipes: signal })).content
  } catch (error) {
    signal.throwIfAborted()
    throw unread(path, error)
  }
  try {
    return parseCertificates(pem, path)
  } catch (error) {
    if (!isUnsealError(error)) throw error
    // The remedies of this code are about keys.
    const next = ["openssl req ", "openssl x509 "].some((command) => error.message.includes(command))
      ? ""
      : ': give the file that "unseal certificate create --out FILE" wrote, or openssl req -x509'
    throw new UsageError(`${error.message}${next}`)
  } finally {
    // The file may contain a private key as well.
    pem.fill(0)
  }
}
