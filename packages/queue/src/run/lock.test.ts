import { setTimeout as sleep } from "node:timers/promises"
import { afterEach, expect, test } from "vitest"
import { holdLock, type JobLock, LockLostError } from "./lock.ts"

let lock: JobLock | undefined
afterEach(() => lock?.release())

function hold(extend: () => Promise<boolean>, lockMs = 300, acquiredAt = performance.now()) {
  const seen = { renewed: 0, lost: [] as LockLostError[], errors: [] as unknown[] }
  lock = holdLock({
    ...{ lockMs, acquiredAt, extend },
    onRenewed: () => seen.renewed++,
    onLost: (reason) => seen.lost.push(reason),
    onError: (error) => seen.errors.push(error),
  })
  return { lock, seen }
}

test("is renewed until it is released, and not after", async () => {
  const { lock, seen } = hold(async () => true, 3_000)
  await expect.poll(() => seen.renewed, { timeout: 20_000 }).toBe(4)
  lock.release()
  const { renewed } = seen
  await sleep(1_500)
  expect(seen.renewed).toBe(renewed)
  expect(seen.lost).toEqual([])
  await expect(lock.fence()).rejects.toThrow(LockLostError)
})

test("is lost, once, when Redis says that another run has it", async () => {
  const { lock, seen } = hold(async () => false)
  await expect.poll(() => lock.lost, { timeout: 20_000 }).toBe(true)
  expect(lock.refused).toBe(true)
  await expect(lock.fence()).rejects.toThrow(LockLostError)
  lock.lose(new LockLostError("again"))
  expect(seen.lost).toHaveLength(1)
})

test("is lost when Redis does not answer for as long as it lasts", async () => {
  const { lock, seen } = hold(() => new Promise(() => {}))
  await expect.poll(() => lock.lost, { timeout: 20_000 }).toBe(true)
  expect(lock.refused).toBe(false)
  expect(seen.lost[0]?.message).toContain("300 ms")
})

test("outlives a failed renewal while there is time for another", async () => {
  let asked = 0
  const { lock, seen } = hold(
    async () => {
      if (++asked === 1) throw new Error("LOADING")
      return true
    },
    // Long enough for a slow machine to fit the second renewal in.
    3_000,
  )
  await expect.poll(() => seen.renewed, { timeout: 20_000 }).toBe(1)
  expect(seen.errors).toHaveLength(1)
  expect(lock.lost).toBe(false)
})

test("that expired before anybody could renew it is lost without asking", async () => {
  let asked = 0
  const { lock } = hold(
    async () => {
      asked++
      return true
    },
    300,
    performance.now() - 301,
  )
  await expect(lock.fence()).rejects.toThrow(LockLostError)
  expect(asked).toBe(0)
  expect(lock.lost).toBe(true)
})

test("the fence passes only on a clear yes", async () => {
  const refusing = hold(async () => false, 60_000)
  await expect(refusing.lock.fence()).rejects.toThrow(LockLostError)
  const failing = hold(async () => {
    throw new Error("OOM")
  }, 60_000)
  await expect(failing.lock.fence()).rejects.toThrow(LockLostError)
  expect(failing.seen.lost).toHaveLength(1)
  const { lock, seen } = hold(async () => true, 60_000)
  await lock.fence()
  expect(seen.lost).toEqual([])
})
