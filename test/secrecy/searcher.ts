/** Looks for secrets in bytes of any origin, in every spelling that a log, a protocol or a heap may give them. */

/** A secret that must not be found where it does not belong. */
export interface Secret {
  readonly name: string
  readonly bytes: Uint8Array
}

/** Gives `NAME (SPELLING)` of all that is found in `bytes`, each once, in the order of the secrets. */
export type Searcher = (bytes: Buffer) => string[]

interface Needle {
  readonly label: string
  readonly bytes: Buffer
}

/** Long secrets are looked for in pieces: half a key is a leak too, and a PEM file breaks its lines. */
const PIECE_SIZE = 24
/** The longest spelling of a piece is the decimal one: three digits and a comma for each byte. */
export const LONGEST_NEEDLE = PIECE_SIZE * 4

export function createSearcher(secrets: readonly Secret[]): Searcher {
  const needles = secrets.flatMap(({ name, bytes }) =>
    piecesOf(Buffer.from(bytes)).flatMap((piece) =>
      spellingsOf(piece).map(([spelling, spelled]) => ({ label: `${name} (${spelling})`, bytes: spelled })),
    ),
  )
  // All at once, by their first bytes: a process has hundreds of megabytes, and there are hundreds of needles.
  const begins = new Uint8Array(65_536)
  const byBeginning = new Map<number, Needle[]>()
  for (const needle of needles) {
    begins[needle.bytes.readUInt16LE(0)] = 1
    const beginning = needle.bytes.readUInt32LE(0)
    byBeginning.set(beginning, [...(byBeginning.get(beginning) ?? []), needle])
  }
  const order = [...new Set(needles.map((needle) => needle.label))]

  return (bytes) => {
    const found = new Set<string>()
    for (let at = 0; at + 4 <= bytes.length; at++) {
      if (begins[bytes[at]! | (bytes[at + 1]! << 8)] === 0) continue
      for (const { label, bytes: needle } of byBeginning.get(bytes.readUInt32LE(at)) ?? [])
        if (needle.compare(bytes, at, Math.min(at + needle.length, bytes.length)) === 0) found.add(label)
    }
    return order.filter((label) => found.has(label))
  }
}

function piecesOf(secret: Buffer): Buffer[] {
  if (secret.length <= PIECE_SIZE) return [secret]
  const count = Math.floor(secret.length / PIECE_SIZE)
  return Array.from({ length: count }, (_, index) =>
    secret.subarray(index * PIECE_SIZE, (index + 1) * PIECE_SIZE),
  )
}

/** Raw as it is and as a number of a little-endian machine; hex; base64 wherever the secret stands in what is encoded; JSON. */
function spellingsOf(piece: Buffer): [string, Buffer][] {
  const hex = piece.toString("hex")
  const spellings: [string, string | Buffer][] = [
    ["raw", piece],
    ["raw, reversed", Buffer.from(piece).reverse()],
    ["hex", hex],
    ["hex, upper case", hex.toUpperCase()],
    ["decimal", piece.join(",")],
  ]
  for (const before of [0, 1, 2])
    for (const form of ["base64", "base64url"] as const)
      spellings.push([`${form}, ${before} bytes in`, base64Within(piece, before, form)])
  return spellings.map(([name, spelled]) => [name, Buffer.from(spelled as string)])
}

/** The characters that the piece alone decides, if `before` bytes (modulo 3) stand in front of it, and any behind. */
function base64Within(piece: Buffer, before: number, form: "base64" | "base64url"): string {
  const encoded = Buffer.concat([Buffer.alloc(before), piece])
    .toString(form)
    .replace(/=+$/, "")
  const first = Math.ceil((before * 8) / 6)
  const last = Math.floor(((before + piece.length) * 8) / 6)
  return encoded.slice(first, last)
}
