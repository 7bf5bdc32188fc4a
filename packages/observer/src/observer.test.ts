import type { QueueState } from "@unseal/queue/observer/queue-state"
import { createConsumer } from "@unseal/queue/run/consumer"
import { createRegistry } from "@unseal/service/metrics"
import { afterEach, beforeEach, expect, test } from "vitest"
import { newPayload, useQueue } from "../../../test/harness/queue.ts"
import { createObserver, type Observer, type ObserverOptions } from "./observer.ts"

const current = useQueue("observer")
beforeEach(async () => void (await current.client.ping()))
const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

/** A process that contends, as far as metrics show it. */
function contender(options: Partial<ObserverOptions> = {}): Observer & { scrape(): Promise<string[]> } {
  const registry = createRegistry()
  const observer = createObserver({
    ...{ registry, projects: { ids: ["100001"] }, connection: current.client, queue: current.name },
    ...options,
  })
  ends.push(() => observer.close())
  return {
    close: () => observer.close(),
    scrape: async () =>
      (await registry.metrics()).split("\n").filter((line) => /^unseal_(?!build_info)/.test(line)),
  }
}
const NOT_OBSERVING = ["unseal_queue_observer 0"]

test("one of several processes shows the queue and its Redis; the others show neither 0 nor NaN", async () => {
  await current.producer.enqueue(newPayload())
  const all = [contender(), contender(), contender()]
  const scraped = await Promise.all(all.map(({ scrape }) => scrape()))
  const [shown, ...others] = scraped.toSorted((a, b) => b.length - a.length)
  expect(others).toEqual([NOT_OBSERVING, NOT_OBSERVING])
  expect(shown).toEqual(
    expect.arrayContaining([
      "unseal_queue_observer 1",
      'unseal_queue_jobs{state="waiting"} 1',
      'unseal_redis_durable{guarantee="append-only"} 1',
      'unseal_redis_durable{guarantee="fsync-always"} 1',
      'unseal_redis_durable{guarantee="no-eviction"} 1',
      'unseal_redis_persistence_ok{write="aof-write"} 1',
      "unseal_redis_replicas 0",
    ]),
  )
})

test("the next process that is scraped observes once the observer has left", async () => {
  const first = contender()
  expect(await first.scrape()).toContain("unseal_queue_observer 1")
  const second = contender()
  expect(await second.scrape()).toEqual(NOT_OBSERVING)
  await first.close()
  expect(await first.scrape()).toEqual(NOT_OBSERVING)
  expect(await second.scrape()).toContain('unseal_queue_jobs{state="waiting"} 0')
})

test("an observer that loses Redis drops its series with the next scrape", async () => {
  const connection = current.client.duplicate()
  ends.push(() => connection.disconnect())
  const observer = contender({ connection })
  await expect.poll(observer.scrape, { timeout: 30_000 }).toContain("unseal_queue_observer 1")
  connection.disconnect()
  expect(await observer.scrape()).toEqual(NOT_OBSERVING)
})

test.each([
  ["fails to read the queue", () => Promise.reject(new Error("NOPERM"))],
  ["gets no answer about the queue", () => new Promise<never>(() => {})],
] satisfies [string, () => Promise<QueueState>][])(
  "a process that %s shows no queue, and lets another observe",
  async (_, readQueue) => {
    const broken = contender({ readQueue })
    expect((await broken.scrape()).filter((line) => /^unseal_queue_(?!bytes)/.test(line))).toEqual(
      NOT_OBSERVING,
    )
    const sound = contender()
    await expect.poll(sound.scrape, { timeout: 30_000 }).toContain("unseal_queue_observer 1")
  },
)

test("a user who may not call INFO shows the queue all the same", async () => {
  await current.client.call("ACL", "SETUSER", "modest", "on", "nopass", "~*", "+@all", "-info", "-config")
  const connection = current.client.duplicate({ username: "modest", password: "any" })
  ends.push(() => connection.disconnect())
  const observer = contender({ connection })
  await expect.poll(observer.scrape, { timeout: 30_000 }).toContain("unseal_queue_observer 1")
  expect((await observer.scrape()).filter((line) => /^unseal_(redis|queue_bytes)/.test(line))).toEqual([])
})

test("the last callback and the oldest archive outlive the processes: they come from Redis", async () => {
  const observer = contender()
  const value = async (name: string) => {
    const line = (await observer.scrape()).find((one) => one.startsWith(`${name} `))
    return line === undefined ? null : Number(line.split(" ")[1])
  }
  await current.producer.enqueue(newPayload())
  // Only callbacks count, not what an operator submits.
  expect(await value("unseal_last_callback_seconds")).toBeNull()
  expect(await value("unseal_queue_oldest_unfinished_seconds")).toBeGreaterThanOrEqual(0)
  const consumer = createConsumer({
    ...{ connection: current.client, queue: current.name, concurrency: 1 },
    run: async () => ({}),
    observe: { ended() {} },
  })
  ends.push(() => consumer.close())
  await expect
    .poll(async () => (await observer.scrape()).join("\n"), { timeout: 30_000 })
    .toContain('unseal_queue_accounts{account="committed"} 1')
  expect(await value("unseal_queue_oldest_unfinished_seconds")).toBe(0)
})
