import { getEventListeners } from "node:events"
import { expect, test } from "vitest"
import { createSlotPool } from "./slot-pool.ts"

const never = new AbortController().signal

test("lends each slot to one user at a time, in the order of requests", async () => {
  const pool = createSlotPool(2)
  const taken: string[] = []
  const take = (name: string) =>
    pool.use(never, (slot) => {
      taken.push(`${name}${slot}`)
      return "sent"
    })
  const all = ["a", "b", "c", "d"].map(take)
  await Promise.all(all.slice(0, 2))
  expect(taken).toEqual(["a1", "b0"])
  pool.giveBack(0)
  pool.giveBack(1)
  await Promise.all(all)
  expect(taken).toEqual(["a1", "b0", "c0", "d1"])
  expect(getEventListeners(never, "abort")).toEqual([])
})

test("takes a slot back from a user that throws, is done with it, or is aborted", async () => {
  const pool = createSlotPool(1)
  const thrown = pool.use(never, () => {
    throw new Error("detached")
  })
  await expect(thrown).rejects.toThrow("detached")
  await pool.use(never, () => "done")
  const controller = new AbortController()
  await pool.use(never, () => "sent")
  const waiting = pool.use(controller.signal, () => "sent")
  const granted = pool.use(controller.signal, () => "sent")
  const next = pool.use(never, () => "done")
  // The first gets the slot and is aborted at the same moment. The second is aborted while it waits.
  pool.giveBack(0)
  controller.abort(new Error("enough"))
  await expect(waiting).rejects.toThrow("enough")
  await expect(granted).rejects.toThrow("enough")
  await expect(pool.use(controller.signal, () => "sent")).rejects.toThrow("enough")
  await next
})

test("rejects waiting and later users with its failure", async () => {
  const pool = createSlotPool(1)
  await pool.use(never, () => "sent")
  const waiting = pool.use(never, () => "sent")
  pool.fail(new Error("ended"))
  await expect(waiting).rejects.toThrow("ended")
  await expect(pool.use(never, () => "sent")).rejects.toThrow("ended")
})
