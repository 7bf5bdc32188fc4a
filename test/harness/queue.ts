/** Gives each test of a file its own queue, on one Redis per file. */
import { randomUUID } from "node:crypto"
import { createProducer, type Producer } from "@unseal/queue/enqueue/producer"
import { createJobPayload, type JobPayload, jobIdOf } from "@unseal/queue/jobs/job"
import { queueKey } from "@unseal/queue/names"
import { Redis } from "ioredis"
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest"
import { type RedisServer, startRedis } from "./redis/redis.ts"

export interface TestQueue {
  readonly redis: RedisServer
  readonly client: Redis
  readonly name: string
  readonly producer: Producer
}

/** Call it at the top of a test file. The fields of its result are those of the running test. */
export function useQueue(prefix: string): TestQueue {
  const current = {} as { -readonly [Field in keyof TestQueue]: TestQueue[Field] }
  beforeAll(async () => {
    current.redis = await startRedis()
  })
  afterAll(() => current.redis.close())
  beforeEach(() => {
    current.name = `${prefix}-${randomUUID().slice(0, 8)}`
    current.client = new Redis(current.redis.url)
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

/** A payload as a callback would make it, for another archive each time. */
export const newPayload = (projectId = "100001", fields: Partial<JobPayload> = {}): JobPayload =>
  createJobPayload({
    ...{ projectId, archiveId: randomUUID(), encryptedPassword: "d3JhcHBlZC1jYW5hcnk=", status: "uploaded" },
    ...{ receivedAt: new Date().toISOString(), nonce: randomUUID(), ...fields },
  })

/** Adds dead letters that failed at `failedAt`, as BullMQ keeps them. Resolves to their ids in list order. */
export async function giveDeadLetters(
  { client, name }: Pick<TestQueue, "client" | "name">,
  count: number,
  projectId: string,
  failedAt: number,
  reason: string,
): Promise<string[]> {
  const writing = client.pipeline()
  const ids: string[] = []
  for (let made = 0; made < count; made++) {
    const payload = newPayload(projectId)
    const id = jobIdOf(payload)
    writing.hset(queueKey(name, id), {
      ...{ name: "decrypt", data: JSON.stringify(payload), failedReason: reason, atm: "3" },
      ...{ timestamp: String(failedAt - 1_000), finishedOn: String(failedAt) },
    })
    writing.zadd(queueKey(name, "failed"), failedAt, id)
    ids.push(id)
  }
  await writing.exec()
  return ids.toSorted().toReversed()
}
