/** The envelopes that Unseal opens, one row each. */
import { UnsealError } from "../errors.ts"
import { aes256Cbc } from "./cbc.ts"
import type { Code, Envelope } from "./envelope.ts"

/** No two rows have the same version, algorithm and mode. */
export const ENVELOPES: readonly Envelope[] = [aes256Cbc]

/** What precedes a password's key, a byte each. */
export const HEADER = ["version", "algorithm", "mode"] as const

/** The row that `header` selects. Throws `ERR_PASSWORD_INVALID`, with the first unknown number, if there is none. */
export function envelopeOf(header: Uint8Array): Envelope {
  let rows = ENVELOPES
  for (const [index, field] of HEADER.entries()) {
    const fitting = rows.filter((row) => row[field].value === header[index])
    if (fitting.length === 0)
      throw unknownEnvelope(
        `password ${field} ${header[index]} is not supported, only ${listed(rows.map((row) => labelOf(row[field])))}`,
      )
    rows = fitting
  }
  return rows[0]!
}

/** For a password that a private key unwraps, but no row matches. */
export const unknownEnvelope = (message: string): UnsealError =>
  new UnsealError("ERR_PASSWORD_INVALID", message, {
    remedy: "update Unseal to a release that opens such archives, then try again",
  })

/** The size of a password for this envelope. */
export const passwordSizeOf = ({ keySize, ivSize }: Envelope): number => HEADER.length + keySize + ivSize

/** All possible sizes of a password, each once. */
export const passwordSizes = (): number[] => [...new Set(ENVELOPES.map(passwordSizeOf))]

/** A number and its name, as in `1 (CBC)`. */
export const labelOf = ({ value, name }: Code): string =>
  name === undefined ? String(value) : `${value} (${name})`

const listed = (labels: readonly string[]): string => new Intl.ListFormat("en").format(new Set(labels))
