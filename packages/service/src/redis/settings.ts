import { ConfigurationError } from "../settings/configuration-error.ts"
import { text } from "../settings/settings.ts"
import { readTextFile } from "../text-file.ts"
import { parseRedisUrl } from "./url.ts"

/** A process's settings for Redis and TLS. */
export interface RedisSettings {
  readonly REDIS_URL: string
  readonly REDIS_TLS_CA_FILE?: string | undefined
  readonly REDIS_TLS_CERT_FILE?: string | undefined
  readonly REDIS_TLS_KEY_FILE?: string | undefined
}

const redisUrl = () =>
  text("a URL, as described").superRefine((text, context) => {
    try {
      parseRedisUrl(text)
    } catch (error) {
      context.addIssue((error as RangeError).message)
    }
  })

/** The part of the schema for `RedisSettings`, for every process that uses Redis. */
export const REDIS_SETTINGS = {
  REDIS_URL: redisUrl(),
  REDIS_TLS_CA_FILE: text("a path").optional(),
  REDIS_TLS_CERT_FILE: text("a path").optional(),
  REDIS_TLS_KEY_FILE: text("a path").optional(),
}

/** Bytes: ten times the authorities that a whole system trusts. */
const LARGEST_PEM = 4 * 2 ** 20

const FILES = { ca: "REDIS_TLS_CA_FILE", cert: "REDIS_TLS_CERT_FILE", key: "REDIS_TLS_KEY_FILE" } as const

/** Options for `tls.connect`. */
export type TlsFiles = { readonly [Name in keyof typeof FILES]?: string }

/**
 * The contents of the TLS files. They are read again for each connection, so that a certificate may be renewed under a running
 * process; if a file can't be read then, its last content is used. Throws `ConfigurationError` if one can't be read now, or if only
 * one of certificate and key is given.
 */
export function openTlsFiles(settings: RedisSettings): TlsFiles {
  const problems: string[] = []
  const contents: TlsFiles = {}
  for (const [name, setting] of Object.entries(FILES)) {
    const path = settings[setting]
    if (path === undefined) continue
    let last = ""
    try {
      last = readTextFile(path, LARGEST_PEM)
      if (!last.includes("-----BEGIN ")) problems.push(`${setting}: ${path} is not a PEM file`)
    } catch (error) {
      problems.push(`${setting}: ${path} can't be read (${(error as NodeJS.ErrnoException).code})`)
    }
    const read = () => {
      try {
        last = readTextFile(path, LARGEST_PEM)
      } catch {}
      return last
    }
    Object.defineProperty(contents, name, { get: read, enumerable: true })
  }
  if ((settings.REDIS_TLS_CERT_FILE === undefined) !== (settings.REDIS_TLS_KEY_FILE === undefined))
    problems.push("REDIS_TLS_CERT_FILE and REDIS_TLS_KEY_FILE belong together: one of them is not set")
  const { tls } = parseRedisUrl(settings.REDIS_URL)
  for (const setting of Object.values(FILES))
    if (settings[setting] !== undefined && !tls)
      problems.push(
        `${setting} is set, and REDIS_URL has no TLS: write rediss://, rediss-sentinel:// or rediss-cluster://`,
      )
  if (problems.length > 0) throw new ConfigurationError(problems)
  return contents
}
