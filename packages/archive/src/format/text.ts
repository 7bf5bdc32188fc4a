/** Small text files (keys, passphrases, callbacks) as editors and shells of every system save them. */
import { transcode } from "node:buffer"

/**
 * The text in `content` as UTF-8 without a byte order mark. UTF-16 is recognised by its mark. Returns `content` itself, or a part
 * of it, if nothing must be converted: a secret is copied only if necessary, and never becomes a string.
 */
export function utf8Of(content: Buffer): Buffer {
  const [first, second, third] = content
  if (first === 0xef && second === 0xbb && third === 0xbf) return content.subarray(3)
  const isLittleEndian = first === 0xff && second === 0xfe
  if (!isLittleEndian && !(first === 0xfe && second === 0xff)) return content
  const units = Buffer.from(content.subarray(2, content.length & ~1))
  try {
    return transcode(isLittleEndian ? units : units.swap16(), "utf16le", "utf8")
  } catch {
    // The mark is there by chance, and this is not text.
    return content
  } finally {
    units.fill(0)
  }
}
