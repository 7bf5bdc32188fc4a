import type { Worker } from "bullmq"
import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { mendBackend } from "./worker-backend.ts"

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function mended(inside: object) {
  const backend = { ...inside } as {
    waitForJob(seconds: number): Promise<unknown>
    reconnectBlocking(): Promise<void>
  }
  const wanted = { bulkShare: () => 5, takesLive: () => false, waitsForLive: () => false }
  mendBackend({ getBackend: () => backend } as unknown as Worker, wanted)
  return backend
}
const never = () => new Promise<never>(() => {})

test("a wait for a job that never settles ends as if none had come, after the block and a new connection", async () => {
  const backend = mended({ waitForJob: never, reconnectBlocking: never })
  const seen: unknown[] = []
  backend.waitForJob(4.5).then((found) => seen.push(found))
  backend.reconnectBlocking().then(() => seen.push("connected"))
  await vi.advanceTimersByTimeAsync(4_999)
  expect(seen).toEqual([])
  await vi.advanceTimersByTimeAsync(1)
  expect(seen).toEqual(["connected"])
  await vi.advanceTimersByTimeAsync(9_999)
  expect(seen).toEqual(["connected"])
  await vi.advanceTimersByTimeAsync(1)
  expect(seen).toEqual(["connected", null])
})

test("a wait that settles keeps its marker, and its error", async () => {
  const found = { member: "0", score: 7 }
  const backend = mended({ waitForJob: async () => found, reconnectBlocking: never })
  await expect(backend.waitForJob(5)).resolves.toBe(found)
  const failure = new Error("UNBLOCKED")
  const failing = mended({ waitForJob: () => Promise.reject(failure), reconnectBlocking: never })
  await expect(failing.waitForJob(5)).rejects.toBe(failure)
})
