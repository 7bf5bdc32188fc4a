/** A source keeps sending, but never enough, while its project's archives occupy every slot of the worker. */
import { readAccounts } from "@unseal/queue/accounting"
import { listSuspensions } from "@unseal/queue/suspension/state"
import { expect, test } from "vitest"
import { PROJECT_ID } from "../../harness/system.ts"
import { startWorkerSystem } from "../../harness/worker-system.ts"

const MIB = 1024 * 1024
const WELL = "200002"
const SLOTS = 4
const SOON = { timeout: 180_000, interval: 50 }

test("a source below the floor is given up, suspends only its project, and uses no attempt", async () => {
  const system = await startWorkerSystem()
  try {
    const { UNSEAL_SOURCE: source, UNSEAL_DESTINATION: destination, UNSEAL_KEYS: keys } = system.env
    const projects = [PROJECT_ID, WELL].map((id) => ({ id, source, destination, keys }))
    const drip = system.s3.faults.add({
      ...{ operation: "GetObject", key: new RegExp(`${PROJECT_ID}/`), times: Number.POSITIVE_INFINITY },
      action: { throttleBytesPerSecond: 200 },
    })
    const sick = await system.submit(PROJECT_ID, [
      11 * MIB,
      188 * 400,
      11 * MIB,
      188 * 400,
      188 * 400,
      188 * 400,
    ])
    await system.startWorkerOf(projects, {
      // A peer may take ten times as long in addition to the time for its bytes.
      ...{ RIG: "1", RIG_STORE_IDLE_MS: "800" },
      ...{ UNSEAL_CONCURRENCY: String(SLOTS), UNSEAL_LOCK_MS: "30000" },
      UNSEAL_PART_SIZE_BYTES: String(5 * MIB),
    })
    const asked = () => system.s3.operations.count("GetObject", ({ key }) => key.startsWith(`${PROJECT_ID}/`))
    await expect.poll(asked, SOON).toBeGreaterThanOrEqual(SLOTS)
    const well = await system.submit(WELL, [11 * MIB, 188 * 400, 188 * 400, 188 * 400])
    const accounts = () => readAccounts(system.client, "unseal")
    const committed = async () => (await accounts()).committed
    await expect.poll(committed, SOON).toBe(well.length)
    for (const archive of well) expect(await system.digest(archive)).toBe(archive.plaintextSha256)
    expect(await listSuspensions(system.client, "unseal")).toMatchObject([
      { projectId: PROJECT_ID, side: "source", code: "ERR_STORE_UNAVAILABLE" },
    ])

    drip.remove()
    await expect.poll(committed, SOON).toBe(well.length + sick.length)
    for (const archive of sick) expect(await system.digest(archive)).toBe(archive.plaintextSha256)
    expect(await accounts()).toMatchObject({ deadLetters: 0, live: 0, missing: 0 })
    expect(new Set(await system.attempts())).toEqual(new Set(["1"]))
    expect(system.s3.openUploads()).toEqual([])
  } finally {
    await system.close()
  }
}, 600_000)
