import { randomUUID } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { Cluster, Redis } from "ioredis"
import { afterAll, afterEach, beforeAll, expect, test } from "vitest"
import { freePort } from "../../../../test/harness/network/free-port.ts"
import { type RedisServer, startRedis } from "../../../../test/harness/redis/redis.ts"
import { type RedisRelay, startRedisRelay } from "../../../../test/harness/redis/relay.ts"
import { createProducer } from "../enqueue/producer.ts"
import { createJobPayload } from "../jobs/job.ts"
import { createConsumer } from "../run/consumer.ts"

let redis: RedisServer
let relay: RedisRelay
let client: Cluster
const ends: (() => unknown)[] = []
const SOON = { timeout: 60_000, interval: 50 }

/** A cluster of one node, whose clients all come through the relay. */
beforeAll(async () => {
  const port = await freePort()
  relay = await startRedisRelay(() => port)
  redis = await startRedis({
    port,
    settings: [
      ...["--cluster-enabled", "yes", "--cluster-port", String(await freePort())],
      ...["--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", String(relay.port)],
    ],
  })
  client = new Cluster([{ host: "127.0.0.1", port: relay.port }], {
    lazyConnect: true,
    clusterRetryStrategy: () => 200,
  })
  client.on("error", () => {})
  const node = new Redis(redis.url)
  await node.call("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
  while (!String(await node.call("CLUSTER", "INFO")).includes("cluster_state:ok")) await sleep(50)
  node.disconnect()
  await client.connect()
}, 90_000)
afterEach(async () => {
  relay.answer(() => "pass")
  for (const end of ends.splice(0).reverse()) await end()
})
afterAll(async () => {
  client.disconnect()
  await relay.close()
  await redis.close()
})

async function consume() {
  const queue = `cluster-wait-${randomUUID().slice(0, 8)}`
  const ended: string[] = []
  const consumer = createConsumer({
    ...{ connection: client, queue, concurrency: 1, lockMs: 3_000, stallCheckMs: 300 },
    run: async () => ({ outcome: "committed" }),
    observe: { ended: ({ jobId }) => ended.push(jobId) },
  })
  ends.push(() => consumer.close())
  const producer = createProducer({ connection: client, queue, deadlineMs: 30_000 })
  ends.push(() => producer.close())
  const enqueue = async () => {
    const { jobId } = await producer.enqueue(
      createJobPayload({
        ...{ projectId: "100001", archiveId: randomUUID(), encryptedPassword: "d3JhcHBlZA==" },
        ...{ status: "uploaded", receivedAt: new Date().toISOString(), nonce: randomUUID() },
      }),
    )
    return jobId
  }
  return { enqueue, ended }
}

test("if a node says that the cluster is down while a blocked connection is replaced, polling goes on", async () => {
  const { enqueue, ended } = await consume()
  const first = await enqueue()
  await expect.poll(() => ended, SOON).toContain(first)
  let swallowed = 0
  let replaced = 0
  let down = 1
  relay.answer((name, [sub = ""]) => {
    if (name === "bzpopmin" && swallowed === 0) {
      swallowed++
      return "never"
    }
    if (swallowed === 0 || name !== "cluster") return "pass"
    if (sub.toLowerCase() === "slots") replaced++
    if (sub.toLowerCase() !== "info" || down-- <= 0) return "pass"
    const text = "cluster_state:fail\r\n"
    return { reply: `$${text.length}\r\n${text}\r\n` }
  })
  await expect.poll(() => replaced, SOON).toBeGreaterThan(0)
  const second = await enqueue()
  await expect.poll(() => ended, SOON).toContain(second)
}, 150_000)
