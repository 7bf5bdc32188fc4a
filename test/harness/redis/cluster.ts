/** A Redis Cluster of six processes on loopback: three masters, each with a replica. */
import { setTimeout as sleep } from "node:timers/promises"
import { Redis } from "ioredis"
import { freePort } from "../network/free-port.ts"
import { killBehind, untilReplicated } from "./behind.ts"
import { type RedisServer, startRedis } from "./redis.ts"
import { type TlsFiles, tlsSettings } from "./tls.ts"

export interface ClusterOptions {
  readonly password?: string
  /** Makes clients and nodes speak TLS. */
  readonly tls?: TlsFiles
}

/** A running cluster. */
export interface RedisCluster {
  /** `redis-cluster://h1:port,h2:port,h3:port`, or its `rediss-` form. */
  readonly url: string
  readonly servers: readonly RedisServer[]
  /** The master of the slot with the keys of `queue`. */
  masterOf(queue: string): Promise<RedisServer>
  /**
   * Kills the master of `queue` with SIGKILL, waits until its replica has taken over, and restarts it as a replica. With `behind`,
   * what it acknowledged in its last seconds is lost.
   */
  failover(queue: string, how?: "kill" | "behind"): Promise<void>
  /**
   * Moves the slot of `queue` to another master, key by key. Calls `during` halfway, when clients get ASK. At the end the whole
   * cluster knows, and clients get MOVED.
   */
  moveSlot(queue: string, during?: () => Promise<void>): Promise<void>
  close(): Promise<void>
}

const MASTERS = 3
const SLOTS = 16_384
/**
 * How long a silent node may take before it counts as failed, in milliseconds: short while one is killed, and long otherwise, so
 * that a slow machine causes no unwanted failover.
 */
const NODE_TIMEOUT = { killed: 2_000, otherwise: 60_000 }

interface Node {
  readonly server: RedisServer
  readonly clientPort: number
  id: string
}

/** Starts a cluster. The `{unseal}` keys, like all others, are on one of three masters. */
export async function startCluster({ password, tls }: ClusterOptions = {}): Promise<RedisCluster> {
  const nodes: Node[] = []

  async function ask<T>(node: Node, ...command: [string, ...(string | number)[]]): Promise<T> {
    const client = new Redis(node.server.port, "127.0.0.1", {
      ...(password && { password }),
      ...{ retryStrategy: () => null, enableReadyCheck: false, maxRetriesPerRequest: 0 },
    })
    client.on("error", () => {})
    try {
      return (await client.call(...(command as [string, ...string[]]))) as T
    } finally {
      client.disconnect()
    }
  }

  async function until(what: string, isSo: () => Promise<boolean>, withinMs = 60_000): Promise<void> {
    for (const deadline = Date.now() + withinMs; !(await isSo().catch(() => false)); await sleep(50))
      if (Date.now() > deadline) throw new Error(`${what}: not within ${withinMs} ms`)
  }

  async function startNode(): Promise<void> {
    const busPort = await freePort()
    const clientPort = tls ? await freePort() : undefined
    const server = await startRedis({
      settings: [
        ...["--cluster-enabled", "yes", "--cluster-port", String(busPort)],
        ...[
          "--cluster-node-timeout",
          String(NODE_TIMEOUT.otherwise),
          "--cluster-replica-validity-factor",
          "0",
        ],
        ...["--repl-diskless-sync-delay", "0", "--cluster-announce-ip", "127.0.0.1"],
        ...(password ? ["--requirepass", password, "--masterauth", password] : []),
        ...(tls
          ? [...tlsSettings(tls, clientPort!), "--tls-cluster", "yes", "--tls-replication", "yes"]
          : []),
      ],
    })
    const node = { server, clientPort: clientPort ?? server.port, id: "" }
    node.id = await ask<string>(node, "CLUSTER", "MYID")
    nodes.push(node)
    const first = nodes[0]!
    // The bus port need not be the client's plus 10000, which may exceed the largest port.
    if (node !== first) {
      const port = tls ? first.clientPort : first.server.port
      await ask(node, "CLUSTER", "MEET", "127.0.0.1", port, await busPortOf(first))
    }
  }

  /** `CLUSTER NODES` names a node `ip:port@busPort`. */
  async function busPortOf(node: Node): Promise<string> {
    const lines = await ask<string>(node, "CLUSTER", "NODES")
    return lines.match(/@(\d+)[^\n]*myself/)![1]!
  }

  const isWhole = async (node: Node): Promise<boolean> => {
    const info = await ask<string>(node, "CLUSTER", "INFO")
    return info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${nodes.length}`)
  }

  async function ownerOf(queue: string, asked: Node): Promise<Node> {
    const slot = await ask<number>(asked, "CLUSTER", "KEYSLOT", `{${queue}}`)
    const ranges = await ask<[number, number, [string, number, string]][]>(asked, "CLUSTER", "SLOTS")
    const range = ranges.find(([from, to]) => from <= slot && slot <= to)
    const owner = nodes.find(({ id }) => id === range?.[2][2])
    if (owner === undefined) throw new Error(`nobody serves slot ${slot}`)
    return owner
  }

  /** The configuration epoch of `node`, as `asked` knows it. */
  async function epochOf(node: Node, asked: Node): Promise<string | undefined> {
    const lines = await ask<string>(asked, "CLUSTER", "NODES")
    // id, address, flags, master, ping sent, pong received, epoch, …
    const line = lines.split("\n").find((line) => line.startsWith(node.id))
    return line?.split(" ")[6]
  }

  const nodeTimeout = (ms: number, asked: readonly Node[]) =>
    Promise.all(asked.map((node) => ask(node, "CONFIG", "SET", "cluster-node-timeout", ms)))

  const anyAlive = async (): Promise<Node> => {
    for (const node of nodes) if (await ask(node, "PING").catch(() => null)) return node
    throw new Error("no node of the cluster answers")
  }

  const close = async () => {
    for (const { server } of nodes) await server.close()
  }

  try {
    for (let index = 0; index < 2 * MASTERS; index++) await startNode()
    const masters = nodes.slice(0, MASTERS)
    for (const [index, master] of masters.entries()) {
      const from = Math.floor((index * SLOTS) / MASTERS)
      const to = Math.floor(((index + 1) * SLOTS) / MASTERS) - 1
      await ask(master, "CLUSTER", "ADDSLOTSRANGE", from, to)
    }
    for (const node of nodes)
      await until("the nodes did not find one another", async () => {
        const known = await ask<string>(node, "CLUSTER", "NODES")
        return known.trim().split("\n").length === nodes.length && !known.includes("handshake")
      })
    for (const [index, replica] of nodes.slice(MASTERS).entries())
      await ask(replica, "CLUSTER", "REPLICATE", masters[index]!.id)
    for (const node of nodes) await until("the cluster did not come up", () => isWhole(node))
    for (const replica of nodes.slice(MASTERS))
      await until("a replica did not follow its master", async () =>
        (await ask<string>(replica, "INFO", "replication")).includes("master_link_status:up"),
      )

    const hosts = masters.map(({ clientPort }) => `127.0.0.1:${clientPort}`).join(",")
    return {
      url: `redis${tls ? "s" : ""}-cluster://${password ? `:${password}@` : ""}${hosts}`,
      servers: nodes.map(({ server }) => server),
      masterOf: async (queue) => (await ownerOf(queue, await anyAlive())).server,
      async failover(queue, how = "kill") {
        const before = await ownerOf(queue, await anyAlive())
        const followers = await ask<string[]>(before, "CLUSTER", "REPLICAS", before.id)
        const replicas = nodes.filter(({ id }) => followers.some((line) => line.startsWith(id)))
        await nodeTimeout(NODE_TIMEOUT.killed, nodes)
        await untilReplicated(before.server, queue, password)
        if (how === "kill") await before.server.stop("SIGKILL")
        else
          await killBehind(
            before.server,
            replicas.map(({ server }) => server),
            password,
          )
        await until("no replica took over", async () => {
          const now = await ownerOf(queue, await anyAlive())
          return now !== before && (await isWhole(now))
        })
        await before.server.restart()
        // It may remember its successor as failed, and forgives a master only after twice this time.
        await nodeTimeout(NODE_TIMEOUT.killed, [before])
        // The old master takes itself for one until it has heard of its successor.
        for (const node of nodes)
          await until("the cluster did not come up again", async () => {
            return (await isWhole(node)) && (await ownerOf(queue, node)) !== before
          })
        await nodeTimeout(NODE_TIMEOUT.otherwise, nodes)
      },
      async moveSlot(queue, during = async () => {}) {
        const source = await ownerOf(queue, await anyAlive())
        const target = masters.find((node) => node !== source)!
        const slot = await ask<number>(source, "CLUSTER", "KEYSLOT", `{${queue}}`)
        await ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        await ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        const auth = password ? ["AUTH", password] : []
        const move = async (count: number) => {
          const keys = await ask<string[]>(source, "CLUSTER", "GETKEYSINSLOT", slot, count)
          const port = tls ? target.clientPort : target.server.port
          if (keys.length > 0)
            await ask(source, "MIGRATE", "127.0.0.1", port, "", 0, 5_000, ...auth, "KEYS", ...keys)
          return keys.length
        }
        await move(3)
        await during()
        while ((await move(100)) > 0);
        for (const node of [target, source, ...nodes])
          await ask(node, "CLUSTER", "SETSLOT", slot, "NODE", target.id).catch((error: Error) => {
            // Replicas learn it from their masters.
            if (!/replica|master/i.test(error.message)) throw error
          })
        await until("the slot did not move", async () => (await ownerOf(queue, source)) === target)
        // A replica that does not know its master's new epoch never wins a vote if that master is killed now.
        const epoch = await epochOf(target, target)
        for (const node of nodes)
          await until("a node did not hear of the slot's move", async () => {
            return (await ownerOf(queue, node)) === target && (await epochOf(target, node)) === epoch
          })
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
