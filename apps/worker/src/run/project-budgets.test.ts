import { createByteBudget } from "@unseal/archive/decrypt/budget"
import { expect, test } from "vitest"
import { createProjectBudgets } from "./project-budgets.ts"

const PART = 16 * 1024
const never = new AbortController().signal
const isGranted = async (work: Promise<unknown>) =>
  (await Promise.race([work.then(() => true), new Promise((resolve) => setImmediate(resolve, false))])) ===
  true

test("a project with a limit leaves room to the others", async () => {
  const budgets = createProjectBudgets(createByteBudget(4 * PART), PART)
  const { live: limited } = budgets.of({ id: "1", limits: { partsInFlight: 2 } })
  const { live: other } = budgets.of({ id: "2", limits: {} })
  const releases = [await limited.acquire(PART, never), await limited.acquire(PART, never)]
  const third = limited.acquire(PART, never)
  expect(await isGranted(third)).toBe(false)
  expect(await isGranted(other.acquire(PART, never))).toBe(true)
  expect(await isGranted(other.acquire(PART, never))).toBe(true)
  releases[0]!.release()
  expect(await isGranted(third)).toBe(true)
  expect(limited.holders).toBe(2)
  expect(other.holders).toBe(4)
})

test("a project without a limit may take all, and one with a limit waits for the shared budget", async () => {
  const budgets = createProjectBudgets(createByteBudget(PART), PART)
  const all = await budgets.of({ id: "2", limits: {} }).live.acquire(PART, never)
  const { live: limited } = budgets.of({ id: "1", limits: { partsInFlight: 1 } })
  const abort = new AbortController()
  const waiting = limited.acquire(PART, abort.signal)
  expect(await isGranted(waiting.catch(() => {}))).toBe(false)
  abort.abort(new Error("shutdown"))
  await expect(waiting).rejects.toThrow("shutdown")
  all.release()
  // A wait in vain holds nothing.
  expect(await isGranted(limited.acquire(PART, never))).toBe(true)
})

test("a project's runs share its limit, and a changed limit is a new one", async () => {
  const budgets = createProjectBudgets(createByteBudget(10 * PART), PART)
  const of = (partsInFlight: number) => budgets.of({ id: "1", limits: { partsInFlight } }).live
  expect(of(2)).toBe(of(2))
  await of(1).acquire(PART, never)
  expect(await isGranted(of(1).acquire(PART, never))).toBe(false)
  expect(await isGranted(of(3).acquire(PART, never))).toBe(true)
})

test("a project's bulk archives that wait for memory hold none of its limit", async () => {
  const shared = createByteBudget(2 * PART)
  const budgets = createProjectBudgets(shared, PART)
  const { live, bulk } = budgets.of({ id: "1", limits: { partsInFlight: 1 } })
  const all = await shared.acquire(2 * PART, never)
  const later = bulk.acquire(PART, never)
  const sooner = live.acquire(PART, never)
  all.release()
  expect(await isGranted(sooner)).toBe(true)
  expect(await isGranted(later)).toBe(false)
  ;(await sooner).release()
  expect(await isGranted(later)).toBe(true)
})
