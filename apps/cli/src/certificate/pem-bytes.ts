/** PEM (RFC 7468) made from bytes only: a string can't be wiped, so it must not contain a private key. */

const ALPHABET = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
const PADDING = 0x3d
const LINE = 64

/** Base64 (RFC 4648, section 4) of `bytes`, as ASCII. */
export function base64Bytes(bytes: Uint8Array): Buffer {
  const encoded = Buffer.alloc(Math.ceil(bytes.length / 3) * 4, PADDING)
  for (let from = 0, to = 0; from < bytes.length; from += 3, to += 4) {
    const [first = 0, second = 0, third = 0] = bytes.subarray(from, from + 3)
    const group = (first << 16) | (second << 8) | third
    const characters = Math.min(bytes.length - from, 3) + 1
    for (let index = 0; index < characters; index++)
      encoded[to + index] = ALPHABET[(group >> (18 - 6 * index)) & 63]!
  }
  return encoded
}

/** A PEM block with `label`, such as `PRIVATE KEY`. */
export function pemBytes(label: string, der: Uint8Array): Buffer {
  const base64 = base64Bytes(der)
  try {
    const lines: Buffer[] = [Buffer.from(`-----BEGIN ${label}-----\n`)]
    for (let from = 0; from < base64.length; from += LINE)
      lines.push(base64.subarray(from, from + LINE), Buffer.from("\n"))
    return Buffer.concat([...lines, Buffer.from(`-----END ${label}-----\n`)])
  } finally {
    base64.fill(0)
  }
}
