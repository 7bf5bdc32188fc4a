import { readCertificateFile } from "../certificate/encode.ts"
import { registrationProblems } from "../certificate/limits.ts"
import { UsageError } from "../terminal/exit.ts"

/**
 * The first certificate in a PEM file, alone: everything else in the file, such as a private key, stays here. Throws `UsageError`
 * if it can't be registered, and the errors of `readCertificateFile`.
 */
export async function readCertificate(
  path: string,
  allowLarge: boolean,
  signal: AbortSignal,
): Promise<string> {
  const [certificate] = await readCertificateFile(path, signal)
  const problems = registrationProblems(certificate, allowLarge)
  if (problems.length === 0) return certificate.pem
  const isLarge = registrationProblems(certificate, true).length < problems.length
  throw new UsageError(
    `${path} can't be registered: ${problems.join("; ")}${isLarge ? " (--allow-large sends it anyway)" : ""}`,
  )
}
