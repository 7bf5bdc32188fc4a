/** A queue of its own for each test of a file, on a Redis that the file's tests share. */
import { randomUUID } from "node:crypto"
import { createProducer, type Producer } from "@unseal/queue/producer"
import { Redis } from "ioredis"
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest"
import { type RedisServer, startRedis } from "./redis.ts"

export interface TestQueue {
  readonly client: Redis
  readonly name: string
  readonly producer: Producer
}

/** To be called at the top of a test file; the fields of what it gives are those of the test that runs. */
export function useQueue(prefix: string): TestQueue {
  const current = {} as { -readonly [Field in keyof TestQueue]: TestQueue[Field] }
  let redis: RedisServer
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.close())
  beforeEach(() => {
    current.name = `${prefix}-${randomUUID().slice(0, 8)}`
    current.client = new Redis(redis.url)
    current.producer = createProducer({
      connection: current.client,
      queue: current.name,
      ...{ deadlineMs: 30_000, pendingLimit: 100_000 },
    })
  })
  afterEach(async () => {
    await current.producer.close()
    current.client.disconnect()
  })
  return current
}
