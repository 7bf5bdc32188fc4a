/** What codes mean and whose move they are, from the table of errors, for tables of the boards. */
import { FAILURES, type FailureCode, SUSPENDING_CODES } from "@unseal/queue/run/ending"

const sentence = (clause: string): string => `${clause[0]!.toUpperCase()}${clause.slice(1)}.`

const words = (codes: readonly FailureCode[], of: "meaning" | "remedy"): Readonly<Record<string, string>> =>
  Object.fromEntries(codes.map((code) => [code, sentence(FAILURES[code][of])]))

/** What to do about a suspension, by its code. */
export const REMEDIES_OF_SUSPENSIONS = words(SUSPENDING_CODES, "remedy")

/** What to do about a dead letter, by its code. */
export const REMEDIES_OF_DEAD_LETTERS = words(Object.keys(FAILURES) as FailureCode[], "remedy")

/** Who can end a suspension, by the side that fails. */
export const MOVES: Readonly<Record<string, string>> = {
  source: "Whoever runs the source store",
  destination: "Whoever runs the destination store",
  keys: "Whoever keeps the private keys",
  vendor: "The vendor, or whoever holds its API credentials",
}
