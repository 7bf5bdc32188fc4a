/** Uploads that a run has begun and Redis has forgotten: the next run of their archive removes them. */
import { checkpointKey } from "@unseal/queue/names"
import { queueStatus } from "@unseal/queue/status"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { startWorkerSystem, type WorkerSystem } from "../../harness/worker-system.ts"

const MIB = 1024 * 1024
const SOON = { timeout: 60_000, interval: 100 }
const WORKER = { UNSEAL_PART_SIZE_BYTES: String(5 * MIB), UNSEAL_PARTS_IN_FLIGHT: "1", RIG: "1" }

let system: WorkerSystem
beforeEach(async () => {
  system = await startWorkerSystem()
})
afterEach(() => system.close())

/** Makes an archive whose worker passes `fault`, and whose upload Redis has forgotten. */
async function forget(fault: string) {
  const archive = system.make(12 * MIB)
  await system.upload(archive)
  const worker = await system.startWorker({ ...WORKER, RIG_FAULT_POINT: fault })
  const jobId = await system.enqueue(archive)
  return { archive, worker, jobId, forgets: () => system.client.del(checkpointKey("unseal", jobId)) }
}

const opened = () => system.s3.openUploads().map(({ key }) => key)

describe("an archive's upload that Redis has forgotten", () => {
  test.each(["after-create:1:kill", "after-part:2:kill"])("is removed by its next run: %s", async (fault) => {
    const { archive, worker, forgets } = await forget(fault)
    await worker.exited
    await forgets()
    expect(opened()).toEqual([archive.key])
    await system.startWorker(WORKER)
    await expect.poll(() => system.digest(archive), SOON).toBe(archive.plaintextSha256)
    expect(opened()).toEqual([])
  })

  test("stays for the janitor while the queue has another job of the archive", async () => {
    const { archive, worker, forgets } = await forget("after-part:2:kill")
    await worker.exited
    await forgets()
    const { encryptedPassword } = system.make(188_000)
    await system.enqueue({ ...archive, encryptedPassword })
    await system.startWorker(WORKER)
    await expect.poll(() => system.digest(archive), SOON).toBe(archive.plaintextSha256)
    expect(opened()).toEqual([archive.key])
    const live = async () => (await queueStatus(system.client, "unseal")).jobs
    await expect.poll(live, SOON).toMatchObject({ waiting: 0, active: 0 })
    expect(await system.cli(["janitor", "--older-than", "0s"])).toMatchObject({ code: 0 })
    expect(opened()).toEqual([])
  })

  test("does not belong to the next run: a run that stood still ends, and leaves what is there", async () => {
    const { archive, worker, forgets } = await forget("after-part:2:stop")
    // It stands still right after this line, when everything is noted.
    const passed = () => worker.log.filter(({ step }) => step === "after-part").length
    await expect.poll(passed, SOON).toBe(2)
    await forgets()
    await system.startWorker(WORKER)
    await expect.poll(() => system.digest(archive), SOON).toBe(archive.plaintextSha256)
    expect(opened()).toEqual([])
    const { length } = system.s3.operations.entries()
    worker.kill("SIGCONT")
    await expect
      .poll(() => worker.log.some(({ msg }) => `${msg}`.startsWith("archive's lock was lost")), SOON)
      .toBe(true)
    const since = system.s3.operations.entries().slice(length)
    expect(
      since.filter(({ operation, status }) => operation === "CompleteMultipartUpload" && status < 300),
    ).toEqual([])
    expect(opened()).toEqual([])
    expect(await system.digest(archive)).toBe(archive.plaintextSha256)
  })
})
