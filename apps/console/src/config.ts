import { trustProxies } from "@unseal/service/http/networks"
import { REDIS_SETTINGS } from "@unseal/service/redis/settings"
import {
  ConfigurationError,
  type Environment,
  flag,
  logFormat,
  logLevel,
  networks,
  port,
  readSettings,
  readTogether,
  text,
} from "@unseal/service/settings/settings"
import { z } from "zod"
import { openUsers, type Users } from "./access/users.ts"

/** The console's address, as browsers have it. */
const publicUrl = () =>
  text("a URL such as `https://unseal.example.com`").transform((value, context) => {
    const url = URL.parse(value)
    if (
      url !== null &&
      /^https?:$/.test(url.protocol) &&
      `${url.origin}${url.pathname}` === `${url.origin}/` &&
      !url.search
    )
      return url
    context.addIssue("must be http:// or https:// with a host, and without a path")
    return z.NEVER
  })

const headerName = () =>
  text("a header's name such as `X-Forwarded-User`").transform((value, context) => {
    if (/^[A-Za-z0-9-]{1,64}$/.test(value)) return value.toLowerCase()
    context.addIssue("must be a header's name: letters, digits and dashes")
    return z.NEVER
  })

/** Exported for the documentation as well. */
export const schema = z.object({
  ...REDIS_SETTINGS,
  LOG_LEVEL: logLevel(),
  LOG_FORMAT: logFormat(),
  UNSEAL_QUEUE: text("a name"),
  UNSEAL_HOST: text("an address or a name").optional(),
  UNSEAL_PORT: port(),
  UNSEAL_ADMIN_PORT: port(),
  UNSEAL_TRUSTED_PROXIES: networks().transform(trustProxies).optional(),
  UNSEAL_CONSOLE_URL: publicUrl().optional(),
  UNSEAL_CONSOLE_USERS_FILE: text("a path").optional(),
  UNSEAL_CONSOLE_SECRET: text("text of 32 characters or more")
    .refine((value) => value.length >= 32, "must have 32 characters or more")
    .optional(),
  UNSEAL_CONSOLE_PROXY_HEADER: headerName().optional(),
  UNSEAL_CONSOLE_PROXY_NETWORKS: networks().optional(),
  UNSEAL_CONSOLE_PROXY_OPERATORS: text("names, separated by commas; `*` for all").optional(),
  UNSEAL_CONSOLE_WRITE: flag(),
  UNSEAL_CONSOLE_BOARD: flag(),
})

export interface Config extends z.output<typeof schema> {
  /** `null` if only a proxy says who somebody is. */
  readonly users: Users | null
}

/** Throws `ConfigurationError` with every problem. */
export function readConfig(env: Environment = process.env): Config {
  const [settings, users] = readTogether(
    () => {
      const settings = readSettings("console", schema, env)
      const problems = problemsOf(settings)
      if (problems.length > 0) throw new ConfigurationError(problems)
      return settings
    },
    () => (env.UNSEAL_CONSOLE_USERS_FILE ? openUsers(env.UNSEAL_CONSOLE_USERS_FILE) : null),
  )
  return { ...settings, users }
}

/**
 * The console is never open to everybody: even on a single machine, others can reach loopback, for example a page in a browser.
 */
function problemsOf(settings: z.output<typeof schema>): string[] {
  const { UNSEAL_CONSOLE_PROXY_HEADER: header, UNSEAL_CONSOLE_PROXY_NETWORKS: proxies } = settings
  if (settings.UNSEAL_CONSOLE_USERS_FILE === undefined && header === undefined)
    return [
      'UNSEAL_CONSOLE_USERS_FILE is not set, nor is UNSEAL_CONSOLE_PROXY_HEADER: nobody could sign in. "unseal console user NAME >> users" makes a user',
    ]
  if ((header === undefined) !== (proxies === undefined))
    return [
      "UNSEAL_CONSOLE_PROXY_HEADER and UNSEAL_CONSOLE_PROXY_NETWORKS belong together: one of them is not set",
    ]
  return []
}
