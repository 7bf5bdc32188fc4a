import { once } from "node:events"
import { type AddressInfo, createServer } from "node:net"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { freePort } from "../../../../test/harness/network/free-port.ts"
import { type RedisServer, startRedis } from "../../../../test/harness/redis/redis.ts"
import { createLogger } from "../log/logger.ts"
import { connectRedis, type RedisClient } from "./redis.ts"

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.close())

const clients: RedisClient[] = []
afterEach(() => {
  for (const client of clients.splice(0)) client.disconnect()
})

function connect(url: string, role: "producer" | "consumer") {
  const lines: Record<string, unknown>[] = []
  const logger = createLogger("test", "info", { write: (line) => void lines.push(JSON.parse(line)) })
  const redis = connectRedis({ REDIS_URL: url }, role, logger)
  clients.push(redis)
  return { redis, lines }
}

const ready = (redis: RedisClient) =>
  redis.status === "ready" ? Promise.resolve() : new Promise<void>((resolve) => redis.once("ready", resolve))

describe("connectRedis", () => {
  it.each(["producer", "consumer"] as const)("connects by itself as a %s", async (role) => {
    const { redis } = connect(server.url, role)
    await ready(redis)
    expect(await redis.ping()).toBe("PONG")
  })

  it("returns at once while Redis is down: a producer's commands fail, and work when Redis is back", async () => {
    const own = await startRedis()
    await own.stop()
    const { redis } = connect(own.url, "producer")
    try {
      await expect(redis.ping()).rejects.toThrow()
      await own.restart()
      await ready(redis)
      expect(await redis.ping()).toBe("PONG")
    } finally {
      redis.disconnect()
      await own.close()
    }
  })

  it("keeps a consumer's commands until Redis is back", async () => {
    const own = await startRedis()
    await own.stop()
    const { redis } = connect(own.url, "consumer")
    try {
      const answer = redis.ping()
      await own.restart()
      expect(await answer).toBe("PONG")
    } finally {
      redis.disconnect()
      await own.close()
    }
  })

  it("ends a producer's command if a frozen server does not answer", async () => {
    const frozen = createServer((socket) => void socket.on("error", () => {})).listen(0, "127.0.0.1")
    await once(frozen, "listening")
    const { redis } = connect(`redis://127.0.0.1:${(frozen.address() as AddressInfo).port}`, "producer")
    await expect(redis.ping()).rejects.toThrow()
    redis.disconnect()
    frozen.close()
  })

  it("says once which sentinels don't answer, and not how long until the next try", () => {
    const { redis, lines } = connect(
      "redis-sentinel://127.0.0.1:1,127.0.0.1:2/0?sentinelMasterId=m",
      "producer",
    )
    const tried = (delay: number, last: string) =>
      redis.emit(
        "error",
        new Error(`All sentinels are unreachable. Retrying from scratch after ${delay}ms.${last}`),
      )
    for (const delay of [1.5, 2.5, 3.5]) tried(delay, " Last error: Connection is closed.")
    for (const delay of [1.5, 2.5]) tried(delay, " Last error: NOAUTH Authentication required.")
    expect(lines.map(({ err }) => (err as Error).message)).toEqual([
      "none of the sentinels answers: 127.0.0.1:1, 127.0.0.1:2",
      "none of the sentinels 127.0.0.1:1, 127.0.0.1:2 names the master: NOAUTH Authentication required.",
    ])
  })

  it("logs few lines while Redis is away, without the credentials of its URL", async () => {
    const { redis, lines } = connect(`redis://user:hunter2@127.0.0.1:${await freePort()}`, "producer")
    for (let i = 0; i < 3; i++) await new Promise((resolve) => redis.once("close", resolve))
    for (let i = 0; i < 1_000; i++) redis.emit("error", new Error("again"))
    redis.disconnect()
    const perSecond = new Map<string, number>()
    for (const { time } of lines) {
      const second = String(time).slice(0, 19)
      perSecond.set(second, (perSecond.get(second) ?? 0) + 1)
    }
    expect(lines.length).toBeGreaterThan(0)
    expect(Math.max(...perSecond.values())).toBeLessThanOrEqual(5)
    expect(JSON.stringify(lines)).not.toContain("hunter2")
  })
})
