import { setTimeout as sleep } from "node:timers/promises"
import { afterEach, beforeEach, expect, test } from "vitest"
import { useQueue } from "../../../../test/harness/queue.ts"
import { observerKey } from "../names.ts"
import { duplicate, type RedisClient } from "../redis/client.ts"
import { createObserverLease, type ObserverLease, type ObserverLeaseOptions } from "./lease.ts"
import { readQueueState } from "./queue-state.ts"

const current = useQueue("lease")
beforeEach(async () => void (await current.client.ping()))
const poll = <T>(ask: () => T | Promise<T>) => expect.poll(ask, { timeout: 30_000 })
const leases: ObserverLease[] = []
const clients: RedisClient[] = []
afterEach(async () => {
  await Promise.all(leases.splice(0).map((lease) => lease.close()))
  for (const client of clients.splice(0)) client.disconnect()
})

function contend(options: Partial<ObserverLeaseOptions> = {}): ObserverLease {
  const lease = createObserverLease({ connection: current.client, queue: current.name, ...options })
  leases.push(lease)
  return lease
}

test("among any number of contenders one holds the lease, and keeps it", async () => {
  const all = Array.from({ length: 5 }, () => contend({ ttlMs: 6_000 }))
  const holders = async () => {
    const held = await Promise.all(all.map((lease) => lease.scraped()))
    return held.flatMap((isHeld, index) => (isHeld ? [index] : []))
  }
  const first = await holders()
  expect(first).toHaveLength(1)
  // Its holder renews it, and nobody else.
  await current.client.persist(observerKey(current.name))
  await poll(() => current.client.pttl(observerKey(current.name))).toBeGreaterThan(0)
  expect(await holders()).toEqual(first)
})

test("when Redis is full, one process still observes the queue, and can count it", async () => {
  await current.client.config("SET", "maxmemory", "1")
  try {
    const lease = contend({ ttlMs: 1_000 })
    await poll(() => lease.scraped()).toBe(true)
    // Renewals work as well.
    const endsAt = Date.now() + 2_000
    while (Date.now() < endsAt) {
      await sleep(100)
      await lease.scraped()
    }
    expect(await lease.scraped()).toBe(true)
    expect((await readQueueState(current.client, current.name)).jobs.waiting).toBe(0)
  } finally {
    await current.client.config("SET", "maxmemory", "0")
  }
})

test("a holder that closes leaves the lease to the next that is scraped", async () => {
  const first = contend()
  expect(await first.scraped()).toBe(true)
  const second = contend()
  expect(await second.scraped()).toBe(false)
  await first.close()
  expect(first.isHeld).toBe(false)
  expect(await second.scraped()).toBe(true)
})

test("a lease whose holder has died goes to another process once it has run out", async () => {
  const connection = duplicate(current.client)
  clients.push(connection)
  const first = contend({ connection, ttlMs: 1_000 })
  await poll(() => first.scraped()).toBe(true)
  const second = contend({ ttlMs: 1_000 })
  connection.disconnect()
  await poll(() => second.scraped()).toBe(true)
})

test("a holder that loses its connection holds nothing from that moment on", async () => {
  const connection = duplicate(current.client)
  clients.push(connection)
  const lease = contend({ connection })
  await poll(() => lease.scraped()).toBe(true)
  connection.disconnect()
  await poll(() => lease.isHeld).toBe(false)
  expect(await lease.scraped()).toBe(false)
})

test("a holder that nobody scrapes loses the lease to one that is scraped, but not to one that is not", async () => {
  const hidden = contend({ unscrapedMs: 200, ttlMs: 60_000 })
  await poll(() => hidden.isHeld).toBe(true)
  const idle = contend({ unscrapedMs: 200, ttlMs: 300 })
  await sleep(500)
  expect(idle.isHeld).toBe(false)
  const scraped = contend({ unscrapedMs: 200, ttlMs: 60_000 })
  expect(await scraped.scraped()).toBe(true)
  // The earlier holder learns of it when it asks next.
  expect(await hidden.scraped()).toBe(false)
})

test("a holder that stands back lets another take over, and asks again later", async () => {
  const broken = contend({ standBackMs: 300 })
  expect(await broken.scraped()).toBe(true)
  broken.standBack()
  expect(await broken.scraped()).toBe(false)
  const other = contend()
  expect(await other.scraped()).toBe(true)
  await other.close()
  await poll(() => broken.scraped()).toBe(true)
})
