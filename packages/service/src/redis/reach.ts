/** One try at start. If Redis refuses then, the settings are wrong, and an error at once is better than trying for ever. */
import { connect as connectPlain, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"
import { ConfigurationError } from "../settings/configuration-error.ts"
import { createRedis, type RedisClient } from "./redis.ts"
import { openTlsFiles, type RedisSettings } from "./settings.ts"
import { parseRedisUrl, type RedisLocation } from "./url.ts"

const REACH_MS = 3_000
const LOOK_MS = 1_000

/**
 * Throws `ConfigurationError` if a Redis is there, but can never be used with these settings: password, TLS, certificate,
 * database, or the form of the URL. A Redis that is away, loading, or slow is no such problem: it is waited for later.
 */
export async function reachRedis(settings: RedisSettings): Promise<void> {
  const location = parseRedisUrl(settings.REDIS_URL)
  const redis = createRedis(
    settings,
    {
      ...{ retryStrategy: () => null, sentinelRetryStrategy: () => null, connectTimeout: REACH_MS },
      ...{ maxRetriesPerRequest: 0, commandTimeout: REACH_MS, enableOfflineQueue: true },
    },
    { clusterRetryStrategy: () => null, maxRedirections: 0 },
  )
  const heard: string[] = []
  const hear = (error: unknown) => {
    const { message, code } = error as NodeJS.ErrnoException
    heard.push(`${message ?? ""} ${code ?? ""}`.trim())
  }
  for (const event of ["error", "node error", "sentinelError"]) redis.on(event, hear)
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer")), REACH_MS)
  })
  try {
    await Promise.race([redis.connect(), late])
    const problem = clauseOf(heard, location) ?? (await wrongForm(redis, location))
    if (problem !== null) throw new ConfigurationError([await withDatabases(problem, redis, location)])
  } catch (error) {
    if (error instanceof ConfigurationError) throw error
    hear(error)
    const problem = clauseOf(heard, location) ?? (await wrongTls(heard, settings, location))
    if (problem !== null) throw new ConfigurationError([`REDIS_URL: ${location.shown} ${problem}`])
  } finally {
    clearTimeout(timer)
    redis.disconnect()
  }
}

/** What the errors say is wrong with the settings; `null` if nothing is. */
function clauseOf(heard: readonly string[], location: RedisLocation): string | null {
  const said = heard.join("\n")
  const bySentinel = /sentinel [^\n]*(WRONGPASS|NOAUTH|invalid password|NOPERM)/.test(said)
  if (bySentinel) return "has sentinels that refuse us: correct sentinelUsername and sentinelPassword"
  if (/WRONGPASS|invalid password|invalid username/i.test(said))
    return location.username === undefined
      ? "refuses the password (WRONGPASS): correct it"
      : `refuses the password of user ${location.username} (WRONGPASS): correct one of them`
  if (/NOAUTH/.test(said))
    return "needs a password, and the URL has none (NOAUTH): write redis://:PASSWORD@HOST"
  if (/invalid reply: null|No such master/i.test(said))
    return `has sentinels that know no master called ${location.masterName}: correct sentinelMasterId`
  if (/cluster support disabled/.test(said)) return "is not a cluster: write redis:// or redis-sentinel://"
  if (/DB index is out of range/.test(said)) return `has no database ${location.db}`
  if (/SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)|unable to verify|self.signed/i.test(said))
    return "shows a certificate of an authority that is not trusted here: name it in REDIS_TLS_CA_FILE"
  if (/ALTNAME|does not match certificate/i.test(said))
    return "shows a certificate for another name than the URL's host: write the name that it was issued for"
  if (/CERT_HAS_EXPIRED|certificate has expired/i.test(said))
    return "shows a certificate that has expired: renew it, or set this machine's clock right"
  if (
    /ALERT_CERTIFICATE_REQUIRED|certificate required|handshake failure|bad certificate|unknown ca/i.test(said)
  )
    return "refuses our certificate, or the lack of one: see REDIS_TLS_CERT_FILE and REDIS_TLS_KEY_FILE"
  return null
}

async function withDatabases(problem: string, redis: RedisClient, location: RedisLocation): Promise<string> {
  const named = `REDIS_URL: ${location.shown} ${problem}`
  if (!problem.startsWith("has no database")) return named
  const [, count] = (await redis.config("GET", "databases").catch(() => [])) as string[]
  return count === undefined ? named : `${named}: it has ${count}, from 0`
}

/** A server's mode, as `INFO server` states it: `standalone`, `cluster` or `sentinel`. Valkey has another name for the field. */
export const serverMode = (info: string): string | undefined =>
  /^(?:redis|server)_mode:(\w+)/m.exec(info)?.[1]

async function wrongForm(redis: RedisClient, { form }: RedisLocation): Promise<string | null> {
  // A user who may not ask gets no answer, which is not a problem.
  const info = (await redis.info("server").catch(() => "")) as string
  const mode = serverMode(info)
  if (form !== "cluster" && mode === "cluster") return "is a node of a cluster: write redis-cluster://"
  if (mode === "sentinel") return "is a sentinel: write redis-sentinel://"
  return null
}

/** Checks whether a host uses TLS while the URL does not, or the reverse, and what it says about our certificate. */
async function wrongTls(
  heard: readonly string[],
  settings: RedisSettings,
  location: RedisLocation,
): Promise<string | null> {
  if (heard.every((text) => /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH/.test(text))) return null
  const host = location.hosts[0]!
  const place = `${host.host}:${host.port}`
  if (!location.tls) {
    const tls = connectTls({ ...host, rejectUnauthorized: false })
    const { met } = await converse(tls, "secureConnect")
    return met ? `speaks TLS at ${place}: write rediss instead of redis` : null
  }
  const plain = await converse(connectPlain(host), "connect", "PING\r\n")
  if (/^[+-]/.test(plain.answer)) return `speaks no TLS at ${place}: write the scheme without its second s`
  // Writing may lose what the server says when it closes.
  const { failure } = await converse(connectTls({ ...host, ...openTlsFiles(settings) }), "close")
  return clauseOf([failure], location)
}

/** Waits for `event` and sends `question` if there is one. Reports whether the event came, the answer, and the failure. */
function converse(
  socket: Socket,
  event: string,
  question?: string,
): Promise<{ met: boolean; answer: string; failure: string }> {
  return new Promise((resolve) => {
    const told = { met: false, answer: "", failure: "" }
    const end = () => {
      socket.destroy()
      resolve(told)
    }
    socket.setTimeout(LOOK_MS, end)
    socket.on("error", (error: NodeJS.ErrnoException) => {
      told.failure = `${error.message} ${error.code ?? ""}`
      end()
    })
    socket.on("data", (data) => {
      told.answer = data.toString()
      end()
    })
    socket.on(event, () => {
      told.met = true
      if (question === undefined) end()
      else socket.write(question)
    })
    socket.on("close", end)
  })
}
