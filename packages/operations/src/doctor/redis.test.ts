import { createRedis, type RedisClient } from "@unseal/service/redis/redis"
import { afterAll, afterEach, beforeAll, expect, test } from "vitest"
import { type RedisServer, startRedis } from "../../../../test/harness/redis/redis.ts"
import { type RedisRelay, startRedisRelay } from "../../../../test/harness/redis/relay.ts"
import type { Check } from "./check.ts"
import { type ExaminedRedis, examineRedis, serverVersion } from "./redis.ts"

const never = new AbortController().signal
const EXAMINED: ExaminedRedis = { queue: "unseal", replicas: 0, durability: "require", form: "single" }

let redis: RedisServer
let relay: RedisRelay
let admin: RedisClient
beforeAll(async () => {
  redis = await startRedis()
  relay = await startRedisRelay(() => Number(new URL(redis.url).port))
  admin = createRedis({ REDIS_URL: redis.url }, {})
  await admin.connect()
})
afterEach(() => relay.answer(() => "pass"))
afterAll(async () => {
  admin.disconnect()
  await relay.close()
  await redis.close()
})

async function look(
  more: Partial<ExaminedRedis> = {},
  { url = redis.url, limitMs = 20_000, aheadMs = 0 } = {},
): Promise<Record<string, Check>> {
  const connect = async () => {
    const connection = createRedis({ REDIS_URL: url }, { enableReadyCheck: false, retryStrategy: null })
    connection.on("error", () => {})
    await connection.connect()
    await connection.ping()
    return { connection, close: () => connection.disconnect() }
  }
  const limits = { limitMs, now: () => Date.now() + aheadMs }
  const checks = await examineRedis(connect, { ...EXAMINED, ...more }, limits, never)
  return Object.fromEntries(checks.map((check) => [check.name, check]))
}

test("Valkey is named with its own version", () => {
  expect(serverVersion("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\n")).toBe(
    "Valkey 8.1.1",
  )
  expect(serverVersion("redis_version:8.0.2\r\n")).toBe("8.0.2")
  expect(serverVersion("")).toBe("an unknown version")
})

test("a Redis that is well has no move", async () => {
  const checks = await look()
  expect(Object.values(checks).map(({ name, status, moves }) => [name, status, moves])).toEqual(
    ["redis", "redis durability", "redis memory", "redis replicas", "clock"].map((name) => [name, "ok", []]),
  )
  expect(checks.redis!.seen).toMatch(/^(Valkey )?\d+\.\d+\.\d+, takes every command of the queue/)
})

test("each way to lose acknowledged jobs is named, with what the processes will do about it", async () => {
  await admin.config("SET", "appendfsync", "everysec")
  try {
    expect((await look())["redis durability"]).toMatchObject({
      status: "failed",
      seen: expect.stringMatching(/appendfsync is everysec.*refuse to start/),
      moves: [{ whose: "redis", what: expect.stringContaining("appendfsync always") }],
    })
    expect((await look({ durability: "warn" }))["redis durability"]).toMatchObject({ status: "warning" })
  } finally {
    await admin.config("SET", "appendfsync", "always")
  }
})

test("a full Redis is named, with the numbers, before and when it refuses work", async () => {
  const used = Number(/^used_memory:(\d+)/m.exec(await admin.info("memory"))![1])
  try {
    await admin.config("SET", "maxmemory", Math.round(used * 1.1))
    expect((await look())["redis memory"]).toMatchObject({
      status: "failed",
      seen: expect.stringMatching(/used of maxmemory's .* \(\d+ %\); ingest answers 503 from 80 % on/),
    })
    await admin.config("SET", "maxmemory", 1)
    expect(await look()).toMatchObject({
      redis: {
        status: "failed",
        moves: [{ whose: "redis", what: "raise maxmemory, or let workers catch up" }],
      },
    })
    await admin.config("SET", "maxmemory", used * 10)
    expect((await look())["redis memory"]).toMatchObject({ status: "ok" })
  } finally {
    await admin.config("SET", "maxmemory", 0)
  }
})

test("replicas are compared with what ingest demands, and with the form of the URL", async () => {
  expect((await look({ replicas: 1 }))["redis replicas"]).toMatchObject({
    status: "failed",
    seen: "0 online, UNSEAL_REDIS_REPLICAS is 1: ingest takes no callback",
  })
  expect((await look({ form: "sentinel" }))["redis replicas"]).toMatchObject({
    status: "warning",
    moves: [{ whose: "operator", what: expect.stringContaining("UNSEAL_REDIS_REPLICAS=1") }],
  })
  await admin.config("SET", "repl-diskless-sync-delay", 0)
  const replica = await startRedis({ settings: ["--replicaof", "127.0.0.1", new URL(redis.url).port] })
  try {
    await expect
      .poll(async () => (await look({ replicas: 1 }))["redis replicas"], { timeout: 60_000, interval: 200 })
      .toMatchObject({ status: "warning", seen: expect.stringContaining("if one goes") })
    expect(await look({}, { url: replica.url })).toMatchObject({
      redis: {
        status: "failed",
        seen: "this Redis is a replica, not a master, and takes no write",
        moves: [{ whose: "redis", what: "make REDIS_URL point to the master" }],
      },
      "redis durability": { status: "ok" },
      "redis memory": { status: "ok" },
      "redis replicas": { status: "not checked", seen: "this Redis is no master" },
      clock: { status: "ok" },
    })
  } finally {
    await replica.close()
  }
})

test("a clock that is off is reported in seconds, and fails where signatures are refused", async () => {
  expect((await look({}, { aheadMs: 60_000 })).clock).toMatchObject({
    status: "warning",
    seen: expect.stringMatching(/^this machine's clock is (59|60)\.\d s ahead of Redis's$/),
    moves: [{ whose: "clock", what: expect.any(String) }],
  })
  expect((await look({}, { aheadMs: -3_600_000 })).clock).toMatchObject({ status: "failed" })
})

test("a user's missing rights are named, and what can't be seen is not checked", async () => {
  await admin.call("ACL", "SETUSER", "poor", "on", ">pw", "~*", "+@all", "-info", "-bzpopmin")
  const checks = await look({}, { url: redis.url.replace("//", "//poor:pw@") })
  expect(checks).toMatchObject({
    redis: {
      status: "failed",
      seen: "redis forbids its user commands that the queue needs: bzpopmin",
      moves: [{ what: "grant what docs/redis.md#permissions lists" }],
    },
    "redis memory": { status: "not checked", seen: expect.stringContaining("INFO") },
    clock: { status: "ok" },
  })
})

test("a Redis that takes the connection and never answers ends every check in time, also if it falls silent later", async () => {
  relay.answer((name) => (name === "info" || name === "time" ? "never" : "pass"))
  const later = await look({}, { url: relay.url, limitMs: 300, aheadMs: 0 })
  expect(later).toMatchObject({
    "redis memory": { status: "failed", seen: "no answer within 300 ms" },
    clock: { status: "failed", seen: "no answer within 300 ms" },
  })
  relay.answer(() => "never")
  const checks = await look({}, { url: relay.url, limitMs: 300 })
  expect(Object.values(checks).map(({ status }) => status)).toEqual([
    "failed",
    ...Array.from({ length: 4 }, () => "not checked"),
  ])
  expect(checks.redis).toMatchObject({ seen: "no answer within 300 ms", moves: [{ whose: "redis" }] })
})

test("a connection that can't be made leaves the rest unchecked, and says why without the password", async () => {
  const connect = async () => {
    throw Object.assign(new Error("redis did not answer within 5 s: ECONNREFUSED"), {
      name: "QueueUnavailableError",
    })
  }
  const [first, ...rest] = await examineRedis(connect, EXAMINED, { limitMs: 1_000 }, never)
  expect(first).toMatchObject({ status: "failed", seen: "redis did not answer within 5 s: ECONNREFUSED" })
  expect(rest.map(({ status, seen }) => [status, seen])).toEqual(
    rest.map(() => ["not checked", "redis can't be used"]),
  )
  const foreign = async () => {
    throw new Error("redis://:secret@host")
  }
  expect(JSON.stringify(await examineRedis(foreign, EXAMINED, { limitMs: 1_000 }, never))).not.toContain(
    "secret",
  )
})
