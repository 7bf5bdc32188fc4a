/** Workers on a store that refuses too many requests, and on one that refuses access at random. */
import { afterEach, expect, test } from "vitest"
import type { QuirkName } from "../../../apps/simulator/src/s3/quirks/quirks.ts"
import type { AppProcess } from "../../harness/process.ts"
import { type Archive, startWorkerSystem, type WorkerSystem } from "../../harness/worker-system.ts"

const MIB = 1024 * 1024
let system: WorkerSystem | undefined
afterEach(() => system?.close())

async function metrics(worker: AppProcess): Promise<(name: string) => number> {
  const text = await (await fetch(`http://127.0.0.1:${worker.ports.admin}/metrics`)).text()
  return (name) =>
    text
      .split("\n")
      .filter((line) => line.startsWith(name))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0)
}

/** Twenty archives at once, three of them with three parts. */
async function run(quirk: QuirkName): Promise<{ s3: WorkerSystem["s3"]; counted: (name: string) => number }> {
  system = await startWorkerSystem()
  const { s3, upload, enqueue, make, digest } = system
  const archives: Archive[] = []
  for (let index = 0; index < 20; index++) archives.push(make(index % 7 === 0 ? 12 * MIB : 188 * 2_000))
  for (const archive of archives) await upload(archive)
  s3.operations.clear()
  s3.quirks.add(quirk)
  for (const archive of archives) await enqueue(archive)
  const worker = await system.startWorker({
    UNSEAL_CONCURRENCY: "10",
    UNSEAL_PART_SIZE_BYTES: String(5 * MIB),
    UNSEAL_PARTS_IN_FLIGHT: "12",
    UNSEAL_LOCK_MS: "20000",
  })
  let counted = await metrics(worker)
  await expect
    .poll(
      async () => {
        counted = await metrics(worker)
        return counted("unseal_archives_total{")
      },
      { timeout: 150_000, interval: 300 },
    )
    .toBe(20)
  s3.quirks.clear()
  for (const archive of archives) expect(await digest(archive)).toBe(archive.plaintextSha256)
  expect(s3.openUploads()).toEqual([])
  expect(counted('unseal_archives_total{project="123456",outcome="committed"')).toBe(20)
  expect(counted("unseal_dead_letters{")).toBe(0)
  return { s3, counted }
}

for (const quirk of ["slow-down", "slow-down-writes", "retry-after"] as const)
  test(`a store with the quirk ${quirk} gets what it accepts, and no attempt is used`, {
    timeout: 200_000,
  }, async () => {
    const { s3, counted } = await run(quirk)
    expect(counted('unseal_retries_total{layer="job"')).toBe(0)
    expect(counted('unseal_retries_total{layer="request",code="ERR_STORE_BUSY"}')).toBeGreaterThan(0)
    // The limit is still there: less than a minute has passed since somebody waited.
    expect(counted('unseal_store_requests_limit{project="123456",side="destination"}')).toBeGreaterThan(0)
    const refused = s3.operations.count("*", ({ status }) => status === 503)
    const taken = s3.operations.count("*", ({ status }) => status < 300)
    expect(refused).toBeGreaterThan(0)
    // Without a limit there would be more refusals than accepted requests.
    expect(refused).toBeLessThan(taken / 2)
  })

test("a lone 403 among successful answers makes no dead letter", { timeout: 200_000 }, async () => {
  const { s3, counted } = await run("lone-403")
  expect(s3.operations.count("*", ({ status }) => status === 403)).toBeGreaterThan(10)
  expect(counted('unseal_retries_total{layer="request",code="ERR_STORE_DENIED"}')).toBeGreaterThan(0)
})
