import { z } from "zod"
import { parseNetworks } from "../http/networks.ts"
import { ConfigurationError } from "./configuration-error.ts"
import { type Environment, readVariable, unknownNames } from "./environment.ts"
import { defaultOf, type ProcessName, type SettingName, type SettingOf, settingRow } from "./table.ts"

export { ConfigurationError, readTogether } from "./configuration-error.ts"
export type { Environment } from "./environment.ts"
export type { ProcessName } from "./table.ts"

/** Nothing if process `P` reads all the keys of `Shape`. Otherwise a compiler error that names the others. */
type OnlySettingsOf<P extends ProcessName, Shape> = [Exclude<keyof Shape, SettingOf<P>>] extends [never]
  ? unknown
  : { readonly notASetting: Exclude<keyof Shape, SettingOf<P>> }

/**
 * Reads the settings of `process` that `schema` names from `env`, typed by the schema. An unset or empty variable has the table's
 * default; a setting without one must be optional in the schema. Throws `ConfigurationError` with every problem at once, unknown
 * `UNSEAL_…` names included.
 */
export function readSettings<P extends ProcessName, Shape extends z.core.$ZodLooseShape>(
  process: P,
  schema: z.ZodObject<Shape> & OnlySettingsOf<P, Shape>,
  env: Environment,
): z.output<z.ZodObject<Shape>> {
  const problems = unknownNames(env)
  const values: Record<string, string | undefined> = {}
  for (const name of Object.keys(schema.shape) as SettingName[]) {
    const before = problems.length
    const value =
      readVariable(name, settingRow(name).secret ?? false, env, problems) ?? defaultOf(name, process)
    // A secret that could not be read already is a problem. The schema is not asked about it.
    if (problems.length === before) values[name] = value
  }
  const asked = schema.pick(Object.fromEntries(Object.keys(values).map((name) => [name, true])) as never)
  const result = asked.safeParse(values)
  for (const { path, message } of result.error?.issues ?? []) {
    const name = path[0] as SettingName
    if (values[name] === undefined) problems.push(`${name} is not set: ${settingRow(name).meaning}`)
    else if (settingRow(name).secret) problems.push(`${name} ${message}`)
    else problems.push(`${name} ${message}, not ${JSON.stringify(values[name].slice(0, 80))}`)
  }
  if (problems.length > 0) throw new ConfigurationError(problems)
  return result.data as z.output<z.ZodObject<Shape>>
}

/** The values of a setting, in a few words for docs/settings.md. They belong to the schema, so that they are written once. */
const taking = <Schema extends z.ZodType>(takes: string, schema: Schema): Schema => schema.meta({ takes })

/** The values that `schema` takes, however it is wrapped; `null` if it does not say. */
export function takesOf(schema: z.core.$ZodType): string | null {
  const { takes } = z.globalRegistry.get(schema) ?? {}
  if (typeof takes === "string") return takes
  const { innerType, in: before } = schema._zod.def as { innerType?: z.core.$ZodType; in?: z.core.$ZodType }
  const inside = innerType ?? before
  return inside === undefined ? null : takesOf(inside)
}

const grouped = (value: number) => value.toLocaleString("en")

/** A whole number from `min` to `max`, of `unit` if it has one. */
export const integer = ({
  min = 0,
  max = Number.MAX_SAFE_INTEGER,
  unit,
}: {
  min?: number
  max?: number
  unit?: string
} = {}) =>
  taking(
    `${grouped(min)} to ${grouped(max)}${unit === undefined ? "" : ` ${unit}`}`,
    z.string().transform((text, context) => {
      const value = /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN
      if (value >= min && value <= max) return value
      context.addIssue(`must be a whole number from ${min} to ${max}`)
      return z.NEVER
    }),
  )

/** A text that `parse` reads; what it throws (`RangeError`) says what is wrong. `takes` describes it. */
export const parsed = <T>(takes: string, parse: (value: string) => T) =>
  text(takes).transform((value, context) => {
    try {
      return parse(value)
    } catch (error) {
      context.addIssue((error as RangeError).message)
      return z.NEVER
    }
  })

/** A TCP port; 0 picks any free one. */
export const port = () => integer({ min: 0, max: 65_535 })

const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const

/** Milliseconds from `min` to `max`: a bare number, or a number with one of the units ms, s, m, h. */
export const milliseconds = ({ min = 0, max = 2 ** 31 - 1 }: { min?: number; max?: number } = {}) =>
  taking(
    `${grouped(min)} to ${grouped(max)} ms, or with a unit: \`30s\`, \`15m\`, \`25h\``,
    z.string().transform((text, context) => {
      const match = /^(\d{1,10})(ms|s|m|h)?$/.exec(text)
      const value = match ? Number(match[1]) * UNITS[(match[2] as keyof typeof UNITS) ?? "ms"] : Number.NaN
      if (value >= min && value <= max) return value
      context.addIssue(`must be from ${min} to ${max} milliseconds (or with a unit, as in 30s, 15m, 25h)`)
      return z.NEVER
    }),
  )

/** 1 or true, 0 or false. */
export const flag = () =>
  taking(
    "`1`, `0`",
    z
      .enum(["1", "0", "true", "false"], { error: "must be 1 or 0" })
      .transform((text) => text === "1" || text === "true"),
  )

/** One of a closed set of words. */
export const choice = <const Words extends readonly [string, ...string[]]>(words: Words) =>
  taking(
    words.map((word) => `\`${word}\``).join(", "),
    z.enum(words, { error: `must be one of ${words.join(", ")}` }),
  )

/** An absolute URL with one of `schemes` (`["redis", "rediss"]`), unchanged. */
export const url = (schemes: readonly string[]) =>
  z.string().refine((text) => URL.canParse(text) && schemes.includes(new URL(text).protocol.slice(0, -1)), {
    error: `must be a URL with ${schemes.map((scheme) => `${scheme}://`).join(" or ")}`,
  })

/** Any non-empty text; `takes` says what it is. */
export const text = (takes = "text") => taking(takes, z.string())

/** The forms of `LOG_FORMAT`. Absent, the output decides. */
export const logFormat = () => choice(["json", "text"]).optional()

/** The levels of `LOG_LEVEL`, as pino has them. */
export const logLevel = () => choice(["trace", "debug", "info", "warn", "error", "fatal", "silent"])

/** Networks, parsed. */
export const networks = () => parsed("networks such as `10.0.0.0/8`, separated by commas", parseNetworks)
