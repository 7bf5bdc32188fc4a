/** A world's Redis, single or with failover, and the suite's own connections to it. */
import { createRedis } from "@unseal/service/redis/redis"
import { startRedisForm } from "@unseal/test/harness/redis/form"
import { type RedisOptions, startRedis } from "@unseal/test/harness/redis/redis"
import { startRedisProxy } from "../redis-proxy.ts"

/** A single Redis, or one with others that can take its place. */
export type RedisChoice = RedisOptions | "sentinel" | "cluster"

/** Starts the Redis that `options` describe, and connects to it. `redisUrl` bypasses the proxy. `closing` collects the clean-up. */
export async function openRedis(options: RedisChoice = {}, closing: (() => Promise<unknown>)[]) {
  const redisForm = typeof options === "string" ? await startRedisForm(options) : undefined
  if (redisForm) closing.push(() => redisForm.close())
  const redis = typeof options === "string" ? redisForm!.servers[0]! : await startRedis(options)
  if (!redisForm) closing.push(() => redis.close())
  const redisUrl = redisForm?.url ?? redis.url
  const proxy = await startRedisProxy(redis.port)
  closing.push(() => proxy.close())
  const open = (connection: Parameters<typeof createRedis>[1], maxRedirections: number) => {
    const client = createRedis({ REDIS_URL: redisUrl }, connection, { maxRedirections })
    // Redis goes away on purpose here.
    client.on("error", () => {})
    client.connect().catch(() => {})
    closing.push(async () => client.disconnect())
    return client
  }
  const client = open({ maxRetriesPerRequest: null }, 100)
  const hasty = open(
    { autoResendUnfulfilledCommands: false, enableOfflineQueue: false, maxRetriesPerRequest: 0 },
    1,
  )
  return { redis, ...(redisForm && { redisForm }), redisUrl, proxy, client, hasty }
}
