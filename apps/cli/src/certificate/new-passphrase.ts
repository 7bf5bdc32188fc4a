import { randomBytes } from "node:crypto"
import { counted } from "@unseal/archive/counted"
import { utf8Of } from "@unseal/archive/format/text"
import { readSmallFile } from "@unseal/archive/small-file"
import { UsageError } from "../terminal/exit.ts"
import { promptPassphrase } from "../terminal/hidden-prompt.ts"
import { unread } from "../terminal/unread.ts"
import { base64Bytes } from "./pem-bytes.ts"

/** Where a new key's passphrase comes from. Default: the terminal. */
export interface PassphraseOptions {
  readonly passphraseFile?: string
  readonly generatePassphrase?: true
  /** `false`: `--no-passphrase`. */
  readonly passphrase?: boolean
}

export interface NewPassphrase {
  /** The caller must wipe it. */
  readonly passphrase: Buffer
  readonly origin: "file" | "generated" | "prompt"
}

/** openssl's minimum, and the size of its buffer. */
const BYTES = { min: 4, max: 1_024 }

/**
 * The passphrase for the key file `name`; `null` for none. Throws `UsageError` if it is unavailable, or if openssl would refuse
 * it.
 */
export async function readNewPassphrase(
  name: string,
  options: PassphraseOptions,
  signal: AbortSignal,
): Promise<NewPassphrase | null> {
  const given = [
    options.passphraseFile !== undefined && "--passphrase-file",
    options.generatePassphrase && "--generate-passphrase",
    options.passphrase === false && "--no-passphrase",
  ].filter((option) => option !== false && option !== undefined)
  if (given.length > 1) throw new UsageError(`${given.join(" and ")} are both given: keep one of them`)

  if (options.passphrase === false) return null
  if (options.generatePassphrase) return { passphrase: generated(), origin: "generated" }
  if (options.passphraseFile !== undefined)
    return { passphrase: await fromFile(options.passphraseFile, signal), origin: "file" }
  const passphrase = await promptPassphrase(name, BYTES.min)
  return { passphrase, origin: "prompt" }
}

/** 192 bits in 32 characters. */
function generated(): Buffer {
  const secret = randomBytes(24)
  try {
    return base64Bytes(secret)
  } finally {
    secret.fill(0)
  }
}

async function fromFile(path: string, signal: AbortSignal): Promise<Buffer> {
  let content: Buffer
  try {
    content = (await readSmallFile(path, { pipes: signal })).content
  } catch (error) {
    signal.throwIfAborted()
    throw unread(path, error)
  }
  let end = content.length
  if (content[end - 1] === 0x0a) end--
  if (content[end - 1] === 0x0d) end--
  const passphrase = Buffer.from(content.subarray(0, end))
  content.fill(0)
  // Other programs would unlock the key without the byte order mark.
  if (utf8Of(passphrase) !== passphrase)
    throw new UsageError(
      `${path} begins with a byte order mark, which openssl takes for a part of the passphrase: save it as UTF-8 without one`,
    )
  // openssl reads the first line, other programs read the whole file.
  if (passphrase.includes("\n")) throw new UsageError(`${path} holds more than one line`)
  if (passphrase.length < BYTES.min || passphrase.length > BYTES.max)
    throw new UsageError(
      `${path} holds a passphrase of ${counted(passphrase.length, "byte")}: openssl takes ${BYTES.min} to ${BYTES.max}`,
    )
  return passphrase
}
