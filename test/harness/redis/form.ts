/** Redis in each form that people run it in, behind one interface. */

import { createRedis } from "@unseal/service/redis/redis"
import { Cluster } from "ioredis"
import { withDeadline } from "../../../packages/archive/src/waiting.ts"
import { type RedisCluster, startCluster } from "./cluster.ts"
import { type RedisServer, startRedis } from "./redis.ts"
import { type SentinelSet, startSentinel } from "./sentinel.ts"
import { createTlsFiles, startTlsRedis } from "./tls.ts"

export const REDIS_FORMS = ["plain", "tls", "sentinel", "cluster", "sentinel-tls", "cluster-tls"] as const
export type RedisFormName = (typeof REDIS_FORMS)[number]

/** A Redis for a system to run on. */
export interface RedisForm {
  readonly url: string
  /** `REDIS_URL`, and the settings for TLS. */
  readonly env: Readonly<Record<string, string>>
  readonly servers: readonly RedisServer[]
  /**
   * Kills the master that holds `queue`. Resolves when another has taken over. Rejects if there is no other. With `behind`, what
   * it acknowledged in its last seconds is lost.
   */
  failover(queue: string, how?: "kill" | "behind"): Promise<void>
  /** Makes it forget everything. */
  forget(): Promise<void>
  readonly cluster?: RedisCluster
  readonly sentinel?: SentinelSet
  close(): Promise<void>
}

const alone = () => Promise.reject(new Error("a single Redis has no other to fail over to"))

/** Empties the Redis that `env` names. */
async function forget(env: Readonly<Record<string, string>>): Promise<void> {
  const client = createRedis({ REDIS_URL: "", ...env }, {})
  client.on("error", () => {})
  try {
    // Right after a failover, a cluster's `connect()` may never settle.
    const late = () => new Error("redis can't be emptied: no connection within 60 s")
    await withDeadline(client.connect(), 60_000, late)
    for (const server of client instanceof Cluster ? client.nodes("master") : [client])
      await server.flushall()
  } finally {
    client.disconnect()
  }
}

/** Starts a Redis. `tls` has a password and its own authority, and requires a client certificate. */
export async function startRedisForm(name: RedisFormName): Promise<RedisForm> {
  const form = await start(name)
  return { ...form, forget: () => forget(form.env) }
}

async function start(name: RedisFormName): Promise<Omit<RedisForm, "forget">> {
  if (name !== "plain" && name !== "tls") return startSet(name)
  if (name === "tls") {
    const files = createTlsFiles()
    const server = await startTlsRedis(files, { settings: ["--requirepass", "redis-pw"] })
    const url = `${server.url.replace("//", "//:redis-pw@")}/1`
    return {
      ...{ url, env: { REDIS_URL: url, ...files.env }, servers: [server], failover: alone },
      async close() {
        await server.close()
        files.close()
      },
    }
  }
  const server = await startRedis()
  const { url, close } = server
  return { ...{ url, env: { REDIS_URL: url }, servers: [server], failover: alone, close } }
}

/** Starts several servers that can replace each other. With TLS, all their connections use it. */
async function startSet(name: Exclude<RedisFormName, "plain" | "tls">): Promise<Omit<RedisForm, "forget">> {
  const files = name.endsWith("-tls") ? createTlsFiles() : undefined
  const options = { password: "redis-pw", ...(files && { tls: files }) }
  try {
    const set: Pick<RedisForm, "sentinel" | "cluster"> = name.startsWith("sentinel")
      ? { sentinel: await startSentinel({ ...options, sentinelPassword: "sentinel-pw" }) }
      : { cluster: await startCluster(options) }
    const { url, servers, close } = (set.sentinel ?? set.cluster)!
    return {
      ...{ ...set, url, env: { REDIS_URL: url, ...files?.env }, servers },
      failover: (queue, how) =>
        set.sentinel ? set.sentinel.failover(how) : set.cluster!.failover(queue, how),
      async close() {
        await close()
        files?.close()
      },
    }
  } catch (error) {
    files?.close()
    throw error
  }
}
