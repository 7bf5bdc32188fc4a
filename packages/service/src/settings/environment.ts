import { closest } from "@unseal/archive/did-you-mean"
import { readTextFile } from "../text-file.ts"
import type { SettingRow } from "./row.ts"
import { SETTINGS } from "./table.ts"

/** Environment variables, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>

/**
 * The value of `name`, or `undefined` if it is unset or empty. A `secret` may be in the file that `NAME_FILE` names; one trailing
 * line break is dropped. Adds errors to `problems`, without the value.
 */
export function readVariable(
  name: string,
  secret: boolean,
  env: Environment,
  problems: string[],
): string | undefined {
  const value = env[name] || undefined
  if (!secret) return value
  const path = env[`${name}_FILE`] || undefined
  if (path === undefined) return value
  if (value !== undefined) {
    problems.push(`${name} and ${name}_FILE are both set: keep one of them`)
    return undefined
  }
  return readSecretFile(path, `${name}_FILE`, problems)
}

/** Bytes. */
const LARGEST_SECRET = 1024 * 1024

/** The secret in the file `path`, without its trailing line break. In `problems`, `label` says where the path came from. */
export function readSecretFile(path: string, label: string, problems: string[]): string | undefined {
  let content: string
  try {
    content = readTextFile(path, LARGEST_SECRET)
  } catch (error) {
    problems.push(`${label}: ${path} can't be read (${(error as NodeJS.ErrnoException).code})`)
    return undefined
  }
  const secret = content.replace(/\r?\n$/, "")
  if (secret === "") problems.push(`${label}: ${path} is empty`)
  return secret || undefined
}

/** One problem for each `UNSEAL_…` name in `env` that is not among `settings`, with its present name or the nearest one. */
export function unknownNames(
  env: Environment,
  settings: Readonly<Record<string, SettingRow>> = SETTINGS,
): string[] {
  const rows = Object.entries(settings)
  const known = rows.flatMap(([name, { secret }]) => (secret ? [name, `${name}_FILE`] : [name]))
  return Object.keys(env)
    .filter((name) => name.startsWith("UNSEAL_") && !known.includes(name))
    .map((name) => {
      const [renamed] = rows.find(([, { formerly }]) => formerly === name) ?? []
      if (renamed) return `${name} is called ${renamed} now: rename it`
      // Kubernetes describes every Service of the namespace in variables of this form.
      return /_SERVICE_(HOST|PORT)|_PORT(_|$)/.test(name) && /^(tcp|udp):|^[\d.]+$/.test(env[name] ?? "")
        ? `${name} is not a setting: Kubernetes made it for a Service, which enableServiceLinks: false in the pod prevents`
        : `${name} is not a setting: did you mean ${closest(name, known)}?`
    })
}
