/** A system with dead letters, for the tests of `unseal queue`. */
import { afterAll, beforeAll, expect, vi } from "vitest"
import type { AppProcess } from "../../../harness/process.ts"
import { type Archive, startWorkerSystem, type WorkerSystem } from "../../../harness/worker-system.ts"

export let system: WorkerSystem
export let cut: Archive[]
export let worker: AppProcess
export let well: Archive

/**
 * Gives the file one system. It has four dead letters, three with truncated objects and one of a project that the worker does not
 * know, and a committed archive.
 */
export function useDeadLetters(): void {
  beforeAll(async () => {
    system = await startWorkerSystem()
    cut = Array.from({ length: 3 }, () => system.make(188 * 16))
    for (const archive of cut) {
      await system.upload({ ...archive, ciphertext: archive.ciphertext.subarray(0, 17) })
      await system.enqueue(archive)
    }
    await system.enqueue(system.make(188 * 16), { projectId: "654321" })
    well = system.make(188 * 16)
    await system.upload(well)
    await system.enqueue(well)
    worker = await system.startWorker()
    await vi.waitFor(
      async () =>
        expect((await status()).accounts).toEqual({
          accepted: 5,
          committed: 1,
          deadLetters: 4,
          live: 0,
          discarded: 0,
          missing: 0,
        }),
      { timeout: 120_000, interval: 500 },
    )
  })
  afterAll(() => system?.close())
}

interface Status {
  readonly jobs: Readonly<Record<string, number>>
  readonly accounts: Readonly<Record<string, number>>
}

/** What `unseal … --json` prints. */
export async function json<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await system.cli([...args, "--json"])
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) })
  return JSON.parse(stdout.toString()) as T
}
export const status = () => json<Status>("queue", "status")
export const list = (...args: string[]) =>
  json<{ jobId: string; archiveId: string; projectId: string; code: string }[]>(
    "queue",
    "dead-letters",
    ...args,
  )
