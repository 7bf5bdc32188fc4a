import { type Callback, readCallback } from "@unseal/archive/callback"
import { UnsealError } from "@unseal/archive/errors"
import { readSmallFile, whyUnread } from "@unseal/archive/small-file"
import { UsageError } from "./exit.ts"

export interface PasswordOptions {
  readonly password?: string
  readonly passwordFile?: string
  readonly callback?: string
}

/** What `--password`, `--password-file` or `--callback` gave; `encryptedPassword` is absent if the archive is not encrypted. */
export interface GivenPassword {
  readonly encryptedPassword?: string
  readonly archiveId?: string
  readonly projectId?: string
  readonly size?: number
  readonly sha256sum?: string
}

/** Reads the encrypted password from where the options say. `UsageError` unless exactly one of them is given. */
export async function readGivenPassword(options: PasswordOptions): Promise<GivenPassword> {
  const given = [options.password, options.passwordFile, options.callback].filter(
    (value) => value !== undefined,
  )
  if (given.length !== 1)
    throw new UsageError(
      "give exactly one of --password BASE64, --password-file FILE and --callback FILE.json",
    )
  if (options.password !== undefined) return { encryptedPassword: options.password }
  if (options.passwordFile !== undefined) return { encryptedPassword: await readText(options.passwordFile) }
  const callback = await readCallbackFile(options.callback!)
  return "ignored" in callback ? refuseOrPass(callback) : callback
}

function refuseOrPass(callback: Extract<Callback, { ignored: string }>): GivenPassword {
  if (callback.ignored === "not-encrypted") return {}
  throw new UnsealError(
    "ERR_JOB_INVALID",
    callback.ignored === "not-archive"
      ? "the callback is not of an archive"
      : `the callback is of an archive in status "${callback.status}": its password comes with "uploaded" or "available"`,
  )
}

/** The callback in a JSON file, or in standard input (`-`). */
export async function readCallbackFile(path: string, projectId?: string): Promise<Callback> {
  let json: unknown
  try {
    json = JSON.parse(await readText(path))
  } catch (error) {
    if (error instanceof UsageError) throw error
    // The parser's message quotes the text, which may hold the password.
    throw new UnsealError("ERR_JOB_INVALID", `${path} is not JSON`)
  }
  return readCallback(json, projectId)
}

async function readText(path: string): Promise<string> {
  try {
    if (path !== "-") return (await readSmallFile(path, { pipes: true })).content.toString("utf8")
    const chunks: Buffer[] = []
    for await (const chunk of process.stdin) chunks.push(chunk)
    return Buffer.concat(chunks).toString("utf8")
  } catch (error) {
    throw new UsageError(`${path} can't be read: ${whyUnread(error)}`)
  }
}
