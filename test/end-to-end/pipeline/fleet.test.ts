/** Two workers of one queue. One sees trouble that the other does not see, or sees later. */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { readAccounts } from "@unseal/queue/accounting"
import { queueKey } from "@unseal/queue/names"
import { afterEach, beforeEach, expect, test } from "vitest"
import type { AppProcess } from "../../harness/process.ts"
import { PROJECT_ID } from "../../harness/system.ts"
import { type Archive, startWorkerSystem, type WorkerSystem } from "../../harness/worker-system.ts"

const WELL = "200002"
const SMALL = 188 * 400
const SOON = { timeout: 120_000, interval: 50 }

let system: WorkerSystem
beforeEach(async () => {
  system = await startWorkerSystem()
})
afterEach(() => system.close())

interface ProjectEntry {
  readonly id: string
  readonly source: string
  readonly destination: string
  readonly keys: string
}

/** A worker for both projects. It sees `SICK` as `differently` says. */
async function startWorker(
  name: string,
  differently: Partial<ProjectEntry>,
  env: Readonly<Record<string, string>>,
): Promise<AppProcess> {
  const { UNSEAL_SOURCE, UNSEAL_DESTINATION, UNSEAL_KEYS } = system.env
  const place = { source: UNSEAL_SOURCE!, destination: UNSEAL_DESTINATION!, keys: UNSEAL_KEYS! }
  const file = join(system.directory, `${name}.json`)
  const projects = [
    { id: PROJECT_ID, ...place, ...differently },
    { id: WELL, ...place },
  ]
  await writeFile(file, JSON.stringify({ projects }))
  const none = { UNSEAL_PROJECT_ID: "", UNSEAL_SOURCE: "", UNSEAL_DESTINATION: "", UNSEAL_KEYS: "" }
  return system.startWorker({
    ...none,
    ...{ UNSEAL_PROJECTS_FILE: file, UNSEAL_LOCK_MS: "30000", LOG_LEVEL: "debug" },
    ...env,
  })
}

const submit = (projectId: string, count: number, size = SMALL) =>
  system.submit(projectId, Array<number>(count).fill(size))

const accounts = () => readAccounts(system.client, "unseal")
const attempts = async () => {
  const ids = await system.client.zrange(queueKey("unseal", "completed"), 0, "-1")
  return new Set(await Promise.all(ids.map((id) => system.client.hget(queueKey("unseal", id), "atm"))))
}
/** The lines with `message`, of archives or of the project. */
const linesOf = (worker: AppProcess, message: string, archives?: readonly Archive[]) =>
  worker.log.filter(
    ({ msg, archiveId }) =>
      String(msg).startsWith(message) && (!archives || archives.some((one) => one.archiveId === archiveId)),
  )

test("a suspension frees the slots that another worker's runs hold on that side, except those of runs that move bytes", async () => {
  const fault = (key: string | RegExp, action: object) =>
    system.s3.faults.add({ operation: "GetObject", key, times: Number.POSITIVE_INFINITY, action })
  const [moving] = await submit(PROJECT_ID, 1, 188 * 20_000)
  // The store answers somebody all the time, so that it does not count as silent.
  fault(moving!.key, { throttleBytesPerSecond: 32_768 })
  const slow = await startWorker("slow", {}, { UNSEAL_CONCURRENCY: "3" })
  const asked = (archive: Archive) =>
    system.s3.operations.count("GetObject", ({ key }) => key === archive.key)
  await expect.poll(() => asked(moving!), SOON).toBeGreaterThan(0)
  fault(new RegExp(`${PROJECT_ID}/(?!${moving!.archiveId})`), { hang: true })
  const hung = await submit(PROJECT_ID, 2)
  await expect.poll(() => hung.every((archive) => asked(archive) > 0), SOON).toBe(true)

  // Nobody listens at this port.
  const source = system.env.UNSEAL_SOURCE!.replace(String(system.s3.port), "1")
  const quick = await startWorker("quick", { source }, { UNSEAL_CONCURRENCY: "1" })
  await submit(PROJECT_ID, 1)
  await expect.poll(() => linesOf(quick, "project suspended").length, SOON).toBe(1)
  await quick.stop()
  const well = await submit(WELL, 4)
  await expect.poll(async () => (await accounts()).committed, SOON).toBe(well.length)
  for (const archive of well) expect(await system.digest(archive)).toBe(archive.plaintextSha256)
  expect(linesOf(slow, "archive waits: its project is suspended", hung).length).toBeGreaterThanOrEqual(2)
  expect(linesOf(slow, "archive waits: its project is suspended", [moving!])).toEqual([])
  expect(linesOf(slow, "archive started", [moving!])).toHaveLength(1)
  expect(await accounts()).toMatchObject({ deadLetters: 0, live: 4, missing: 0 })
  expect(await attempts()).toEqual(new Set(["1"]))
}, 300_000)
