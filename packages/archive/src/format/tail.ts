/**
 * What follows the last whole packet. The vendor's own command decrypts with `-nopad`, yet writers pad. Packets are 188 bytes and
 * blocks are 16, so after whole packets a PKCS#7 padding (RFC 5652, section 6.3) is as long as the archive modulo 188.
 */
import { PACKET_SIZE } from "./mpeg-ts.ts"

/** `keep` gives exactly what `openssl enc -d -nopad` gives; `trim` drops a well-formed PKCS#7 padding. */
export type TailRule = "keep" | "trim"

export interface Tail {
  /** `unpadded`: whole packets to the end · `pkcs7`: a well-formed padding · `irregular`: anything else, always kept. */
  readonly form: "pkcs7" | "unpadded" | "irregular"
  /** Bytes of a PKCS#7 padding, else 0. */
  readonly padding: number
}

/**
 * The tail of an archive with `size` bytes of plaintext. `end` is its last bytes: as many as the envelope's longest padding has,
 * or all of them.
 */
export function readTail(size: number, end: Uint8Array): Tail {
  const rest = size % PACKET_SIZE
  if (rest === 0) return { form: "unpadded", padding: 0 }
  const padding = end.subarray(-rest)
  const isPadded = padding.length === rest && padding.every((byte) => byte === rest)
  return isPadded ? { form: "pkcs7", padding: rest } : { form: "irregular", padding: 0 }
}

/** How many bytes are kept of an archive of `size` bytes with this tail. */
export function keptSize(size: number, tail: Tail, rule: TailRule): number {
  return rule === "trim" ? size - tail.padding : size
}
