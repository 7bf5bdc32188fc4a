import { UsageError } from "./exit.ts"

/** A number that is not negative, such as `1,000` or `0.4`. Throws `UsageError` that names `option`. */
export function readNumber(option: string, text: string): number {
  const digits = text.replaceAll(/[,_]/g, "")
  if (!/^\d{1,15}(\.\d{1,9})?$/.test(digits))
    throw new UsageError(`${option} must be a number, not "${text}"`)
  return Number(digits)
}
