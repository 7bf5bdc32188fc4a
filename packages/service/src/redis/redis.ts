import { Cluster, type ClusterOptions, Redis, type RedisOptions } from "ioredis"
import { type Logger, rateLimited } from "../log/logger.ts"
import { openTlsFiles, type RedisSettings } from "./settings.ts"
import { parseRedisUrl, type RedisLocation } from "./url.ts"

/** A client of one Redis, found by sentinels or not, or of a cluster. */
export type RedisClient = Redis | Cluster

/**
 * Somebody waits for a producer's answer, so no command outlives its caller: it fails at once without a connection, and after
 * `commandTimeout` without an answer. It is not sent again, because by then the caller has answered. Nobody waits for a consumer:
 * its commands wait until Redis is back. `socketTimeout` counts only while an answer is due. A consumer's blocking commands alone
 * take up to 10 s.
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
 * A cluster's client has no connection that waits for its node. A command without a node is sent again, this often. A failover
 * takes the cluster's node timeout, 15 s by default, plus a second or two.
 */
const CLUSTER_ROLES = {
  producer: { enableOfflineQueue: false, maxRedirections: 16 },
  consumer: { maxRedirections: 100, retryDelayOnFailover: 300, retryDelayOnClusterDown: 300 },
} as const satisfies Record<string, ClusterOptions>

const FIRST_RECONNECT_MS = 50
const LAST_RECONNECT_MS = 2_000
const ERROR_LINES_PER_SECOND = 2
/** The interval at which an unchanged error is logged again. */
const SAME_ERROR_MS = 60_000

/** Without the random part, all processes would reconnect to a restarted Redis in step. */
const retryDelay = (attempt: number): number =>
  Math.min(FIRST_RECONNECT_MS * 2 ** Math.min(attempt, 10), LAST_RECONNECT_MS) * (0.5 + Math.random() / 2)

/** Errors of a replica that was a primary until now. The name in the URL, or a sentinel, leads to the new primary. */
const isOfReplica = (error: Error): boolean => /^(READONLY|UNBLOCKED)\b/.test(error.message)

/** ioredis reports a changing delay, but neither whom it asked nor that nobody answered. */
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
 * A client of the Redis that `settings` name. It returns at once, even if Redis is down, and connects in the background, now and
 * whenever the connection is lost, at most 2 s apart. It can be used once `redis.status` is `ready`. Errors are logged, at most two
 * lines a second, and never thrown, except `ConfigurationError` for the TLS files.
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
    // Otherwise ioredis would continue in database 0.
    if (isWrongDatabase(err)) redis.disconnect(true)
  }
  redis.on("error", failed)
  redis.on("node error", failed)
  redis.on("ready", () => {
    lastSaid = { text: "", at: 0 }
    log("info", "redis ready", { role }, "redis connected")
  })
  // The error event reports the failure as well, and reconnecting continues.
  redis.connect().catch(() => {})
  return redis
}

/** Without the option that would become a type parameter of the client. */
type ConnectionOptions = Omit<RedisOptions, "replyMapping">

/**
 * A client that connects when told to. The options of `role` apply to each connection, those of `cluster` to a cluster's client.
 */
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
      // A sentinel that accepts connections but does not answer must not keep us from the others.
      sentinelCommandTimeout: 2_000,
      sentinelRetryStrategy: retryDelay,
      ...options,
    })
    // The first listener, so that all others, and the log, get the changed message.
    redis.on("error", (error) => nameSentinels(error, hosts))
    return redis
  }
  const { lazyConnect, retryStrategy, enableOfflineQueue: _, ...ofNodes } = options
  return new Cluster([...hosts], {
    redisOptions: ofNodes,
    lazyConnect: lazyConnect!,
    clusterRetryStrategy: retryDelay,
    slotsRefreshTimeout: 5_000,
    // Certificates are for names, and would not match an address that a name resolves to.
    ...(tls && { dnsLookup: (host, found) => found(null, host) }),
    ...cluster,
  })
}
