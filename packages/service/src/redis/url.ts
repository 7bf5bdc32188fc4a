/** The forms of `REDIS_URL`: one Redis, sentinels that know it, or a cluster. */

interface Host {
  readonly host: string
  readonly port: number
}

/** Where Redis is, and the user to log in as. */
export interface RedisLocation {
  readonly form: "single" | "sentinel" | "cluster"
  readonly tls: boolean
  /** The Redis, its sentinels, or nodes of a cluster. One that answers is enough. */
  readonly hosts: readonly Host[]
  readonly username?: string
  readonly password?: string
  readonly db: number
  /** The master's name, with `sentinel`. */
  readonly masterName?: string
  readonly sentinelUsername?: string
  readonly sentinelPassword?: string
  readonly family?: 4 | 6
  /** The URL without secrets, for display. */
  readonly shown: string
}

const FORMS = {
  redis: { form: "single", tls: false, port: 6_379 },
  rediss: { form: "single", tls: true, port: 6_379 },
  "redis-sentinel": { form: "sentinel", tls: false, port: 26_379 },
  "rediss-sentinel": { form: "sentinel", tls: true, port: 26_379 },
  "redis-cluster": { form: "cluster", tls: false, port: 6_379 },
  "rediss-cluster": { form: "cluster", tls: true, port: 6_379 },
} as const

const SENTINEL_PARAMETERS = ["sentinelMasterId", "sentinelUsername", "sentinelPassword"]

/**
 * Parses a `REDIS_URL`. Throws `RangeError` with what it must be: a clause that follows the setting's name and contains no
 * secret.
 */
export function parseRedisUrl(url: string): RedisLocation {
  const match = /^([a-z-]+):\/\/([^/?#]*)(\/[^?#]*)?(\?[^#]*)?$/.exec(url)
  const scheme = match?.[1] as keyof typeof FORMS | undefined
  if (!match || scheme === undefined || !Object.hasOwn(FORMS, scheme))
    throw new RangeError(`must be a URL with ${Object.keys(FORMS).join("://, ")}://`)
  const { form, tls, port: usualPort } = FORMS[scheme]
  const [, , authority = "", path = "", query = ""] = match

  const at = authority.lastIndexOf("@")
  const [username, password] = credentialsOf(authority.slice(0, Math.max(at, 0)))
  const names = authority.slice(at + 1)
  const hosts = names.split(",").map((name) => hostOf(name, usualPort))
  if (form === "single" && hosts.length > 1)
    throw new RangeError(
      `names ${hosts.length} hosts: a single Redis has one; several need redis-sentinel:// or redis-cluster://`,
    )

  const parameters = new URLSearchParams(query)
  const known = ["family", ...(form === "sentinel" ? SENTINEL_PARAMETERS : [])]
  for (const name of parameters.keys())
    if (!known.includes(name))
      throw new RangeError(`has the parameter ${name}, which is not one of ${known.join(", ")}`)
  const parameter = (name: string) => parameters.get(name) || undefined
  const masterName = parameter("sentinelMasterId")
  if (form === "sentinel" && masterName === undefined)
    throw new RangeError("must name the master that the sentinels watch: ?sentinelMasterId=NAME")
  const family = parameter("family")
  if (family !== undefined && family !== "4" && family !== "6")
    throw new RangeError("has a parameter family that is neither 4 nor 6")

  const database = path.replace(/^\/|\/$/g, "")
  if (!/^\d{0,9}$/.test(database)) throw new RangeError("must end in the number of a database, as in /0")
  const db = Number(database)
  if (form === "cluster" && db !== 0)
    throw new RangeError(`names database ${db}: a Redis Cluster has database 0 only`)

  const user = username === undefined ? "" : `${encodeURIComponent(username)}@`
  const sentinelUsername = parameter("sentinelUsername")
  const sentinelPassword = parameter("sentinelPassword")
  return {
    ...{ form, tls, hosts, db },
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(masterName !== undefined && { masterName }),
    ...(sentinelUsername !== undefined && { sentinelUsername }),
    ...(sentinelPassword !== undefined && { sentinelPassword }),
    ...(family !== undefined && { family: Number(family) as 4 | 6 }),
    shown: `${scheme}://${user}${names}${db === 0 ? "" : `/${db}`}${masterName === undefined ? "" : `?sentinelMasterId=${masterName}`}`,
  }
}

function credentialsOf(text: string): [username?: string | undefined, password?: string | undefined] {
  if (text === "") return []
  const colon = text.indexOf(":")
  const [username, password] = colon === -1 ? [text, ""] : [text.slice(0, colon), text.slice(colon + 1)]
  try {
    return [decodeURIComponent(username) || undefined, decodeURIComponent(password) || undefined]
  } catch {
    throw new RangeError("has a user or password with a % that must be written %25")
  }
}

function hostOf(text: string, usualPort: number): Host {
  const match = /^(\[[0-9A-Fa-f:.]+\]|[^:[\]\s]+)(?::(\d{1,5}))?$/.exec(text)
  const port = Number(match?.[2] ?? usualPort)
  // Not quoted, because it may be half of a password.
  if (!match || port < 1 || port > 65_535)
    throw new RangeError(
      "must name hosts as HOST or HOST:PORT; in a password, @ / ? and # are written %40 %2F %3F %23",
    )
  return { host: match[1]!.replace(/^\[|\]$/g, ""), port }
}
