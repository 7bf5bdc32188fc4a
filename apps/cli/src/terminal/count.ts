import { InvalidArgumentError } from "commander"

/** Reads an option that is a count. Throws `InvalidArgumentError`, which commander reports as wrong usage. */
export function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError("must be a whole number, 1 or more")
  return Number(text)
}
