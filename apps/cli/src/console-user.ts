/** `unseal console user NAME`: makes a line for the console's file of users. */
import { hashPassword } from "@unseal/service/password-hash"
import { UsageError } from "./terminal/exit.ts"
import { promptPassphrase } from "./terminal/hidden-prompt.ts"

/** NIST SP 800-63B asks for this many where a password is all there is. */
const SHORTEST = 15
const LONGEST_BYTES = 1_024

export async function consoleUserCommand(
  name: string,
  { role }: { readonly role: "reader" | "operator" },
  signal: AbortSignal,
): Promise<void> {
  if (!/^[\w.@-]{1,64}$/.test(name))
    throw new UsageError(
      `"${name}" can't be a user's name: use letters, digits and . _ @ -, up to 64 of them`,
    )
  const typed = process.stdin.isTTY ? await promptPassphrase(name, SHORTEST) : await readPipe(signal)
  // Keyboards differ in how they compose a letter and its accent.
  const password = typed.toString().normalize("NFC")
  typed.fill(0)
  if (password.length < SHORTEST)
    throw new UsageError(`the password has ${password.length} characters, and needs ${SHORTEST} or more`)
  process.stdout.write(`${name}:${await hashPassword(Buffer.from(password))}:${role}\n`)
}

/** The first line of standard input. */
async function readPipe(signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of process.stdin.iterator({ destroyOnReturn: true })) {
    signal.throwIfAborted()
    chunks.push(chunk as Buffer)
    size += (chunk as Buffer).length
    if (size > LONGEST_BYTES || (chunk as Buffer).includes(10)) break
  }
  const input = Buffer.concat(chunks)
  for (const chunk of chunks) chunk.fill(0)
  const [line = ""] = input.toString().split(/\r?\n/, 1)
  input.fill(0)
  if (Buffer.byteLength(line) > LONGEST_BYTES)
    throw new UsageError(`the password has more than ${LONGEST_BYTES} bytes`)
  return Buffer.from(line)
}
