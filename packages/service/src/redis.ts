import { Cluster, type ClusterOptions, Redis, type RedisOptions } from "ioredis"
import { type Logger, rateLimited } from "./logger.ts"
import { openTlsFiles, type RedisSettings } from "./redis-settings.ts"
import { parseRedisUrl, type RedisLocation } from "./redis-url.ts"

/** A client of one Redis, be it found by sentinels or not, or of a cluster. */
export type RedisClient = Redis | Cluster

/**
 * A producer answers somebody who waits, so no command outlives its caller: without a connection it fails at once, without an
 * answer after `commandTimeout`. It is not sent again, since the caller has answered by then. A consumer has nobody waiting:
 * its commands wait until Redis is back. `socketTimeout` counts only while an answer is due; a consumer's blocking commands
 * take up to 10 s by themselves.
 */
const ROLES = {
  producer: {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    commandTimeout: 2_000,
    socketTimeout: 5_000,
  },
  consumer: { maxRetriesPerRequest: null, socketTimeout: 20_000 },
} as const satisfies Record<string, RedisOptions>

/**
 * A cluster's client has no connection that waits for its node: a command that finds none is sent again, so often. A failover
 * takes the cluster's node timeout, 15 s by default, and a second or two.
 */
const CLUSTER_ROLES = {
  producer: { enableOfflineQueue: false, maxRedirections: 16 },
  consumer: { maxRedirections: 100, retryDelayOnFailover: 300, retryDelayOnClusterDown: 300 },
} as const satisfies Record<string, ClusterOptions>

const FIRST_RECONNECT_MS = 50
const LAST_RECONNECT_MS = 2_000
const ERROR_LINES_PER_SECOND = 2
/** What does not change is said again after so long. */
const SAME_ERROR_MS = 60_000

/** Without the random part, all processes would come back to a restarted Redis in step. */
const retryDelay = (attempt: number): number =>
  Math.min(FIRST_RECONNECT_MS * 2 ** Math.min(attempt, 10), LAST_RECONNECT_MS) * (0.5 + Math.random() / 2)

/** A replica that was a primary until now: the name in the URL, or a sentinel, leads to the new primary. */
const isOfReplica = (error: Error): boolean => /^(READONLY|UNBLOCKED)\b/.test(error.message)

/** ioredis tells a delay, which is another each time, and neither whom it asked nor that nobody answered. */
function nameSentinels(error: Error, hosts: RedisLocation["hosts"]): void {
  if (!error.message.startsWith("All sentinels are unreachable")) return
  const [, last = ""] = error.message.split(" Last error: ")
  const asked = hosts.map(({ host, port }) => `${host}:${port}`).join(", ")
  error.message =
    last === "" || last === "Connection is closed."
      ? `none of the sentinels answers: ${asked}`
      : `none of the sentinels ${asked} names the master: ${last}`
}

const isWrongDatabase = (error: unknown): boolean =>
  error instanceof Error && error.message.includes("DB index is out of range")

/**
 * A client of the Redis that `settings` name that connects in the background, now and whenever the connection is lost, at most
 * 2 s apart. It returns at once, also when Redis is down: `redis.status` is `ready` when it can be used. Errors are logged,
 * two lines a second at most, and never thrown, but for `ConfigurationError` of the TLS files.
 */
export function connectRedis(
  settings: RedisSettings,
  role: "producer" | "consumer",
  logger: Logger,
): RedisClient {
  const redis = createRedis(settings, ROLES[role], CLUSTER_ROLES[role])
  const log = rateLimited(logger, ERROR_LINES_PER_SECOND)
  let lastSaid = { text: "", at: 0 }
  const failed = (err: unknown) => {
    const text = String(err)
    const isNew = text !== lastSaid.text || Date.now() - lastSaid.at > SAME_ERROR_MS
    if (isNew) {
      lastSaid = { text, at: Date.now() }
      log("error", "redis", { err, role }, "redis connection failed")
    }
    // ioredis would go on in database 0.
    if (isWrongDatabase(err)) redis.disconnect(true)
  }
  redis.on("error", failed)
  redis.on("node error", failed)
  redis.on("ready", () => {
    lastSaid = { text: "", at: 0 }
    log("info", "redis ready", { role }, "redis connected")
  })
  // The failure is reported by the error event as well, and reconnecting goes on.
  redis.connect().catch(() => {})
  return redis
}

/** What becomes a type parameter of a client is not to be chosen. */
type ConnectionOptions = Omit<RedisOptions, "replyMapping">

/** A client that connects when it is told to. Each option of `role` applies to each connection, those of `cluster` to a cluster's client. */
export function createRedis(
  settings: RedisSettings,
  role: ConnectionOptions,
  cluster: Pick<ClusterOptions, "clusterRetryStrategy" | "maxRedirections"> = {},
): RedisClient {
  const location = parseRedisUrl(settings.REDIS_URL)
  const { form, hosts, username, password, db, family, masterName } = location
  const files = openTlsFiles(settings)
  const tls = location.tls ? files : undefined
  const options: ConnectionOptions = {
    connectTimeout: 5_000,
    lazyConnect: true,
    retryStrategy: retryDelay,
    reconnectOnError: isOfReplica,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(family !== undefined && { family }),
    ...(tls && { tls }),
    ...role,
  }
  if (form === "single") return new Redis({ ...hosts[0]!, db, ...options })
  if (form === "sentinel") {
    const { sentinelUsername, sentinelPassword } = location
    const redis = new Redis({
      ...{ sentinels: [...hosts], name: masterName!, db },
      ...(sentinelUsername !== undefined && { sentinelUsername }),
      ...(sentinelPassword !== undefined && { sentinelPassword }),
      ...(tls && { enableTLSForSentinelMode: true, sentinelTLS: tls }),
      // A sentinel that accepts and does not answer must not keep us from the others.
      sentinelCommandTimeout: 2_000,
      sentinelRetryStrategy: retryDelay,
      ...options,
    })
    // The first listener: all others, and the log, read what it makes of the message.
    redis.on("error", (error) => nameSentinels(error, hosts))
    return redis
  }
  const { lazyConnect, retryStrategy, enableOfflineQueue: _, ...ofNodes } = options
  return new Cluster([...hosts], {
    redisOptions: ofNodes,
    lazyConnect: lazyConnect!,
    clusterRetryStrategy: retryDelay,
    slotsRefreshTimeout: 5_000,
    // Certificates are for names: an address that a name leads to would not fit.
    ...(tls && { dnsLookup: (host, found) => found(null, host) }),
    ...cluster,
  })
}
