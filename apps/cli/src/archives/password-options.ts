import { addAbortSignal } from "node:stream"
import { UnsealError } from "@unseal/archive/errors"
import { utf8Of } from "@unseal/archive/format/text"
import { readSmallFile } from "@unseal/archive/small-file"
import { type Callback, readCallback } from "@unseal/vendor/callback"
import { UsageError } from "../terminal/exit.ts"
import { unread } from "../terminal/unread.ts"

export interface PasswordOptions {
  readonly password?: string
  readonly passwordFile?: string
  readonly callback?: string
}

/** The result of `--password`, `--password-file` or `--callback`. Without `encryptedPassword` the archive is not encrypted. */
export interface GivenPassword {
  readonly encryptedPassword?: string
  readonly archiveId?: string
  readonly projectId?: string
  readonly size?: number
  readonly sha256sum?: string
}

/** Reads the encrypted password from where the options say. Throws `UsageError` unless exactly one of them is given. */
export async function readGivenPassword(
  options: PasswordOptions,
  signal: AbortSignal,
): Promise<GivenPassword> {
  const given = [options.password, options.passwordFile, options.callback].filter(
    (value) => value !== undefined,
  )
  if (given.length !== 1)
    throw new UsageError(
      "give exactly one of --password BASE64, --password-file FILE and --callback FILE.json",
    )
  if (options.password !== undefined) return { encryptedPassword: unquoted(options.password) }
  if (options.passwordFile !== undefined)
    return {
      encryptedPassword: passwordIn(await readBytes(options.passwordFile, signal), options.passwordFile),
    }
  const callback = await readCallbackFile(options.callback!, signal)
  return "ignored" in callback ? refuseOrPass(callback) : callback
}

function refuseOrPass(callback: Extract<Callback, { ignored: string }>): GivenPassword {
  if (callback.ignored === "not-encrypted") return {}
  throw new UnsealError(
    "ERR_JOB_INVALID",
    callback.ignored === "not-archive"
      ? "the callback is not about an archive"
      : `the callback is about an archive in status "${callback.status}": its password comes with "uploaded" or "available"`,
  )
}

/** The callback in a JSON file, or in standard input (`-`). */
export async function readCallbackFile(path: string, signal: AbortSignal): Promise<Callback> {
  return readCallback(await readJsonFile(path, signal))
}

/** The JSON in a file, or in standard input (`-`). */
export async function readJsonFile(path: string, signal: AbortSignal): Promise<unknown> {
  try {
    return JSON.parse(decode(await readBytes(path, signal)))
  } catch (error) {
    if (error instanceof UsageError || signal.aborted) throw error
    // The parser's message quotes the text, which may contain the password.
    throw new UnsealError(
      "ERR_JOB_INVALID",
      `${path} is not JSON: --callback takes the callback as the vendor sent it, --password-file the password alone`,
    )
  }
}

/** The password in a file, in the forms that people have: base64, quoted or not, or the raw bytes. */
function passwordIn(content: Buffer, path: string): string {
  const text = decode(content).trim()
  if (text.startsWith("{"))
    throw new UsageError(`${path} holds JSON: if it is the callback, give --callback ${path}`)
  // An RSA ciphertext has at least 128 bytes, some of which are not text in any encoding.
  return /^[\t\n\r\x20-\x7e]*$/.test(text) ? unquoted(text) : content.toString("base64")
}

const unquoted = (text: string): string => /^\s*(["'])(.*)\1\s*$/s.exec(text)?.[2] ?? text

const decode = (content: Buffer): string => utf8Of(content).toString()

async function readBytes(path: string, signal: AbortSignal): Promise<Buffer> {
  try {
    if (path !== "-") return (await readSmallFile(path, { pipes: signal })).content
    const chunks: Buffer[] = []
    for await (const chunk of addAbortSignal(signal, process.stdin)) chunks.push(chunk)
    return Buffer.concat(chunks)
  } catch (error) {
    signal.throwIfAborted()
    throw unread(path, error)
  }
}
