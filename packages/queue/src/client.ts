/** The Redis clients that the queue works with: of one Redis, found by sentinels or not, or of a cluster. */
import type { Cluster, Redis, RedisOptions } from "ioredis"
import { queueKey } from "./names.ts"

export type RedisClient = Redis | Cluster

export const isCluster = (client: RedisClient): client is Cluster => client.isCluster

/** BullMQ waits on its connections without limit, by design: whatever limits the given one has must not apply. */
const PATIENT = {
  maxRetriesPerRequest: null,
  autoResendUnfulfilledCommands: true,
  commandTimeout: undefined,
  // Longer than BullMQ's longest blocking command: only a connection that has silently died is given up.
  socketTimeout: 20_000,
  connectTimeout: 5_000,
} satisfies RedisOptions

const retryDelay = (times: number): number => Math.min(100 * 2 ** times, 2_000)

/** A client like `client`, for the same Redis, that waits as long as it takes. It connects at once. */
export function duplicatePatiently(client: RedisClient): RedisClient {
  const atOnce = { lazyConnect: false, enableOfflineQueue: true }
  if (!isCluster(client)) {
    const patient = client.duplicate({ ...PATIENT, ...atOnce, retryStrategy: retryDelay })
    patient.on("error", (error: Error) => {
      // ioredis would go on in database 0.
      if (error.message.includes("DB index is out of range")) patient.disconnect(true)
    })
    return patient
  }
  // A failover takes the cluster's node timeout, 15 s by default, and a second or two: what finds no node is sent again so long.
  const overFailover = { maxRedirections: 100, retryDelayOnFailover: 300, retryDelayOnClusterDown: 300 }
  return client.duplicate([], {
    // The check asks one node whether the cluster is well. If it says no, ioredis never settles `connect()`, and who awaits it hangs.
    // Without it, commands get CLUSTERDOWN and are sent again.
    enableReadyCheck: false,
    redisOptions: PATIENT,
    ...{ ...atOnce, ...overFailover, clusterRetryStrategy: retryDelay },
  })
}

/** The servers that hold keys: the one; or all masters of a cluster. */
export const masters = (client: RedisClient): Redis[] =>
  isCluster(client) ? client.nodes("master") : [client]

/** `INFO section` of the server that holds the keys of `queue`. */
export async function infoOf(client: RedisClient, queue: string, section: string): Promise<string> {
  if (!isCluster(client)) return client.info(section)
  // By key: a client whose map of the slots is old learns the new one by a command that has some.
  return (await client.eval(
    "return redis.call('INFO', ARGV[1])",
    ...[1, queueKey(queue, "meta"), section],
  )) as string
}
