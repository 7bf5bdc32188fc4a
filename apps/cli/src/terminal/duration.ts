import { milliseconds } from "@unseal/service/settings/settings"
import { UsageError } from "./exit.ts"

/** Milliseconds of an option such as `90m`, in the same form as in settings. Throws `UsageError` if it is invalid. */
export function readDuration(
  option: string,
  text: string,
  limits: { min?: number; max?: number } = {},
): number {
  const parsed = milliseconds(limits).safeParse(text)
  if (parsed.success) return parsed.data
  throw new UsageError(`${option} ${parsed.error.issues[0]?.message}, not ${JSON.stringify(text)}`)
}
