/** The queue's Redis clients: for one Redis, found by sentinels or not, or for a cluster. */
import type { Cluster, Redis, RedisOptions } from "ioredis"
import { queueKey } from "../names.ts"

export type RedisClient = Redis | Cluster

export const isCluster = (client: RedisClient): client is Cluster => client.isCluster

/** BullMQ's connections wait without limit, by design, so the limits of the given one must not apply to them. */
const PATIENT = {
  maxRetriesPerRequest: null,
  autoResendUnfulfilledCommands: true,
  commandTimeout: undefined,
  // Longer than BullMQ's longest blocking command, so that only a silently dead connection is given up.
  socketTimeout: 20_000,
  connectTimeout: 5_000,
} satisfies RedisOptions

const retryDelay = (times: number): number => Math.min(100 * 2 ** times, 2_000)

/** A client like `client`, for the same Redis, that waits for as long as it takes. It connects at once. */
export function duplicatePatiently(client: RedisClient): RedisClient {
  const atOnce = { lazyConnect: false, enableOfflineQueue: true }
  if (!isCluster(client)) {
    const patient = client.duplicate({ ...PATIENT, ...atOnce, retryStrategy: retryDelay })
    patient.on("error", (error: Error) => {
      // Otherwise ioredis would continue in database 0.
      if (error.message.includes("DB index is out of range")) patient.disconnect(true)
    })
    return patient
  }
  // A failover takes the cluster's node timeout, 15 s by default, plus a second or two. Commands without a node are retried until then.
  const overFailover = { maxRedirections: 100, retryDelayOnFailover: 300, retryDelayOnClusterDown: 300 }
  return client.duplicate([], {
    // The check asks one node whether the cluster is well. If not, ioredis never settles `connect()`, and its caller hangs. Without
    // the check, commands get CLUSTERDOWN and are sent again.
    enableReadyCheck: false,
    redisOptions: PATIENT,
    ...{ ...atOnce, ...overFailover, clusterRetryStrategy: retryDelay },
  })
}

/** A client like `client`, with the same limits, for commands that block those behind them. It connects at once. */
export const duplicate = (client: RedisClient): RedisClient =>
  isCluster(client)
    ? client.duplicate([], { lazyConnect: false, enableOfflineQueue: true })
    : client.duplicate({ lazyConnect: false, enableOfflineQueue: true })

/** The servers with keys: the only one, or all masters of a cluster. */
export const masters = (client: RedisClient): Redis[] =>
  isCluster(client) ? client.nodes("master") : [client]

/** `INFO section` of the server that holds the keys of `queue`. */
export async function infoOf(client: RedisClient, queue: string, section: string): Promise<string> {
  if (!isCluster(client)) return client.info(section)
  // With a key, because only such a command updates a client's outdated map of slots.
  return (await client.eval(
    "return redis.call('INFO', ARGV[1])",
    ...[1, queueKey(queue, "meta"), section],
  )) as string
}

/** The fields of what INFO answers, by name. */
export const infoFields = (info: string): ReadonlyMap<string, string> =>
  new Map(
    info.split(/\r?\n/).flatMap((line) => {
      const at = line.indexOf(":")
      return at < 0 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const]
    }),
  )
