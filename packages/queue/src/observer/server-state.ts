/** What the observer's metrics say about the Redis server that holds the queue. */

import { infoFields, infoOf, isCluster, type RedisClient } from "../redis/client.ts"

export const GUARANTEES = ["append-only", "fsync-always", "no-eviction"] as const
export const WRITES = ["aof-write", "aof-rewrite", "snapshot"] as const

/** A value that the server does not report is absent. */
export interface ServerState {
  readonly usedBytes?: number
  /** 0 if there is no limit. */
  readonly limitBytes?: number
  /** Whether the settings keep what was acknowledged. */
  readonly durable: Readonly<Partial<Record<(typeof GUARANTEES)[number], boolean>>>
  /** Whether the last write of each kind succeeded. */
  readonly written: Readonly<Partial<Record<(typeof WRITES)[number], boolean>>>
  readonly replicas?: number
  readonly clients?: number
  readonly uptimeSeconds?: number
}

/** Asks the server. Rejects if this user may not call INFO. */
export async function readServerState(connection: RedisClient, queue: string): Promise<ServerState> {
  const [info, fsync] = await Promise.all([
    infoOf(connection, queue, "default"),
    // Managed servers forbid CONFIG. A cluster's nodes would have to be asked one by one.
    isCluster(connection) ? [] : connection.config("GET", "appendfsync").catch(() => []),
  ])
  const fields = infoFields(info)
  const number = (name: string) => {
    const text = fields.get(name)
    return text === undefined ? undefined : Number(text)
  }
  const is = (name: string, value: string) => {
    const text = fields.get(name)
    return text === undefined ? undefined : text === value
  }
  const appendfsync = Array.isArray(fsync) ? fsync[1] : undefined
  return known({
    usedBytes: number("used_memory"),
    limitBytes: number("maxmemory"),
    replicas: number("connected_slaves"),
    clients: number("connected_clients"),
    uptimeSeconds: number("uptime_in_seconds"),
    durable: known({
      "append-only": is("aof_enabled", "1"),
      "fsync-always": typeof appendfsync === "string" ? appendfsync === "always" : undefined,
      "no-eviction": is("maxmemory_policy", "noeviction"),
    }),
    written: known({
      "aof-write": is("aof_last_write_status", "ok"),
      "aof-rewrite": is("aof_last_bgrewrite_status", "ok"),
      snapshot: is("rdb_last_bgsave_status", "ok"),
    }),
  })
}

type Known<Fields> = { [Name in keyof Fields]?: Exclude<Fields[Name], undefined> }

/** `fields` without those that are undefined. */
const known = <Fields extends object>(
  fields: Fields,
): Known<Fields> & Required<Pick<Fields, RequiredKeys<Fields>>> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never

type RequiredKeys<Fields> = {
  [Name in keyof Fields]: undefined extends Fields[Name] ? never : Name
}[keyof Fields]
