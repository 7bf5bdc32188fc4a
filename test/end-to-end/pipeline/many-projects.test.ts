/** Real workers with a hundred projects, and with a limited one. */
import { copyFile, mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { queueStatus } from "@unseal/queue/status"
import type { Operation } from "@unseal/simulator/s3/faults/log"
import { afterEach, beforeEach, expect, test } from "vitest"
import { DESTINATION_NAME } from "../../harness/stores.ts"
import { PROJECT_ID } from "../../harness/system.ts"
import { type Archive, startWorkerSystem, type WorkerSystem } from "../../harness/worker-system.ts"

const PART = 5 * 1024 * 1024
const POLL = { timeout: 120_000, interval: 200 }

let system: WorkerSystem
beforeEach(async () => {
  system = await startWorkerSystem()
})
afterEach(() => system.close())

interface Limited {
  readonly id: string
  readonly partsInFlight?: number
}

/** A file of projects that share the buckets. Each has its own directory of keys. */
async function configure(projects: readonly Limited[]): Promise<Record<string, string>> {
  const { UNSEAL_SOURCE: source, UNSEAL_DESTINATION: destination } = system.env
  const file = join(system.directory, "projects.json")
  const entries = projects.map(async ({ id, partsInFlight }) => {
    const keys = join(system.directory, `keys-${id}`)
    await mkdir(keys)
    await copyFile(system.keyFile, join(keys, "key.pem"))
    return { id, source, destination, keys, ...(partsInFlight && { limits: { partsInFlight } }) }
  })
  await writeFile(file, JSON.stringify({ projects: await Promise.all(entries) }))
  const none = { UNSEAL_PROJECT_ID: "", UNSEAL_SOURCE: "", UNSEAL_DESTINATION: "", UNSEAL_KEYS: "" }
  return { ...none, UNSEAL_PROJECTS_FILE: file }
}

/** Stores and enqueues an archive of a project. */
async function submit(projectId: string, size: number): Promise<Archive> {
  const made = system.make(size)
  const archive = { ...made, key: made.key.replace(PROJECT_ID, projectId) }
  await system.upload(archive)
  await system.enqueue(archive, { projectId })
  return archive
}

const jobs = async () => (await queueStatus(system.client, "unseal")).jobs

test("two workers serve a hundred projects, each archive with its own project's stores and keys", async () => {
  const ids = Array.from({ length: 100 }, (_, index) => String(500_000 + index))
  const env = await configure(ids.map((id) => ({ id })))
  await Promise.all([system.startWorker(env), system.startWorker(env)])
  const archives: Archive[] = []
  for (const [index, id] of ids.entries()) archives.push(await submit(id, 752 * (10 + index)))
  await expect.poll(jobs, POLL).toMatchObject({ completed: 100, failed: 0 })
  for (const [index, archive] of archives.entries())
    expect(await system.digest(archive), ids[index]).toBe(archive.plaintextSha256)
})

/** How long the store keeps a part before it answers, in milliseconds. */
const WRITE_MS = 300

/**
 * The most bytes of parts that were being written at the same time. The server notes a request's end a little after its client has
 * the answer, and the client may have begun the next one by then. So half of each write's delay is not counted.
 */
function mostBytesAtOnce(writes: readonly Operation[]): number {
  const moments = writes.flatMap(({ at, durationMs = 0, bytesIn }) => [
    { at, bytes: bytesIn },
    { at: at + Math.max(0, durationMs - WRITE_MS / 2), bytes: -bytesIn },
  ])
  let now = 0
  let most = 0
  for (const { bytes } of moments.sort((a, b) => a.at - b.at || a.bytes - b.bytes)) {
    now += bytes
    most = Math.max(most, now)
  }
  return most
}

test("a project that may have one part in memory has one, while another has several", async () => {
  const [limited, free] = ["100001", "200002"]
  const env = await configure([{ id: limited, partsInFlight: 1 }, { id: free }])
  const sizes = [1, 2, 3].map((count) => count * PART + 7_520)
  const archives: Archive[] = []
  for (const id of [limited, free]) for (const size of sizes) archives.push(await submit(id, size))
  // Long enough to be seen beside other writes.
  system.s3.faults.add({ operation: "UploadPart", times: 1_000, action: { delayMs: WRITE_MS } })
  system.s3.operations.clear()
  await system.startWorker({
    ...env,
    ...{ UNSEAL_PART_SIZE_BYTES: String(PART), UNSEAL_PARTS_IN_FLIGHT: "6", UNSEAL_CONCURRENCY: "6" },
  })
  await expect.poll(jobs, POLL).toMatchObject({ completed: archives.length, failed: 0 })
  const writesOf = (id: string) =>
    system.s3.operations
      .entries()
      .filter(
        ({ operation, bucket, key }) =>
          operation === "UploadPart" && bucket === DESTINATION_NAME && key.startsWith(`${id}/`),
      )
  expect(writesOf(limited).length).toBeGreaterThanOrEqual(9)
  // The limit is the memory of one part, which the short last parts of two archives may share.
  expect(mostBytesAtOnce(writesOf(limited))).toBeLessThan(1.1 * PART)
  expect(mostBytesAtOnce(writesOf(free))).toBeGreaterThan(1.9 * PART)
  for (const archive of archives) expect(await system.digest(archive)).toBe(archive.plaintextSha256)
})
