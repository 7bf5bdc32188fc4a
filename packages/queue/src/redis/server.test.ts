import { Redis } from "ioredis"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type RedisServer, startRedis } from "../../../../test/harness/redis/redis.ts"
import { durabilityProblems, readMemory, watchMemory } from "./server.ts"

let redis: RedisServer
let client: Redis

beforeAll(async () => {
  redis = await startRedis()
  client = new Redis(redis.url)
})
afterAll(async () => {
  client.disconnect()
  await redis.close()
})

test("a Redis with an append-only file that is always synced, and noeviction, keeps what it acknowledged", async () => {
  expect(await durabilityProblems(client)).toEqual([])
})

test("every way to lose acknowledged jobs is named", async () => {
  await client.config("SET", "appendfsync", "everysec")
  await client.config("SET", "maxmemory-policy", "allkeys-lru")
  const problems = await durabilityProblems(client)
  expect(problems).toHaveLength(2)
  expect(problems.join()).toMatch(/allkeys-lru.*everysec/)
  await client.config("SET", "appendonly", "no")
  expect((await durabilityProblems(client)).join()).toContain("appendonly is no")
})

test("memory is as the server says, and counts as full from 80 % of its limit on", async () => {
  expect((await readMemory(client, "unseal")).limitBytes).toBe(0)
  expect(await watchMemory(client, "unseal")()).toBeNull()
  const { usedBytes } = await readMemory(client, "unseal")
  expect(usedBytes).toBeGreaterThan(100_000)
  await client.config("SET", "maxmemory", Math.round(usedBytes / 0.9))
  expect(await watchMemory(client, "unseal")()).toMatch(
    /^redis uses \d+ % of its maxmemory of \d+ bytes: raise it, /,
  )
  await client.config("SET", "maxmemory", usedBytes * 2)
  expect(await watchMemory(client, "unseal")()).toBeNull()
})

test("a failed look is not remembered", async () => {
  const broken = new Redis({ port: 1, lazyConnect: true, enableOfflineQueue: false, retryStrategy: null })
  broken.on("error", () => {})
  const look = watchMemory(broken, "unseal")
  await expect(look()).rejects.toThrow()
  const again = look()
  await expect(again).rejects.toThrow()
  broken.disconnect()
})

test("a user without INFO can still add jobs, and is warned once", async () => {
  const redis = await startRedis()
  const admin = new Redis(redis.url)
  await admin.call("ACL", "SETUSER", "unseal", "on", ">pw", "~*", "+@all", "-info")
  const client = new Redis(redis.url.replace("//", "//unseal:pw@"), { enableReadyCheck: false })
  const said: string[] = []
  const say = (_: object, message: string) => void said.push(message)
  try {
    const reasonNotToAdd = watchMemory(client, "unseal", { info: say, warn: say, error: say })
    expect([await reasonNotToAdd(), await reasonNotToAdd()]).toEqual([null, null])
    expect(said).toEqual(["redis does not say how full it is: this user may not call INFO"])
  } finally {
    for (const one of [admin, client]) one.disconnect()
    await redis.close()
  }
})
