import { UnsealError } from "../errors.ts"
import { type PrivateKey, parsePrivateKey } from "../format/key-ring.ts"
import { wipe } from "../format/password.ts"
import { utf8Of } from "../format/text.ts"
import { NotASmallFile, readSmallFile } from "../small-file.ts"

/**
 * Reads one private key file, with its passphrase from `passphrasePath` or as given. Throws `ERR_KEY_INVALID` like
 * `parsePrivateKey` and for anything but a small file; the file system's own errors pass through. With `pipes` both may come
 * through a pipe, until that signal is aborted.
 */
export async function readPrivateKey(
  path: string,
  options: { name?: string; passphrasePath?: string; passphrase?: Uint8Array; pipes?: AbortSignal } = {},
): Promise<PrivateKey> {
  let pem: Buffer | undefined
  let read: Buffer | undefined
  let text: Buffer | undefined
  try {
    pem = await contentOf(path, options.pipes)
    if (options.passphrasePath !== undefined) read = await contentOf(options.passphrasePath, options.pipes)
    text = read && utf8Of(read)
    const [name, passphrase] = [options.name ?? path, read ? trimNewline(read) : options.passphrase]
    try {
      return parsePrivateKey(pem, name, passphrase)
    } catch (error) {
      if (text === undefined || text === read) throw error
      // openssl takes a byte order mark for a part of the passphrase, but nobody types one.
      return parsePrivateKey(pem, name, trimNewline(text))
    }
  } finally {
    wipe(pem, read, text)
  }
}

/** Names the file in the error: two are read, and only one of them may be at fault. */
async function contentOf(path: string, pipes?: AbortSignal): Promise<Buffer> {
  try {
    return (await readSmallFile(path, { pipes })).content
  } catch (error) {
    throw error instanceof NotASmallFile
      ? new UnsealError("ERR_KEY_INVALID", `${path} ${error.message}`)
      : error
  }
}

function trimNewline(bytes: Buffer): Buffer {
  let end = bytes.length
  if (bytes[end - 1] === 0x0a) end--
  if (bytes[end - 1] === 0x0d) end--
  return bytes.subarray(0, end)
}
