/**
 * Trouble of the deployment with real workers and a real S3 server: nothing is given up, nobody else waits, and it ends by
 * itself.
 */
import { execFileSync } from "node:child_process"
import { chmod, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { readAccounts } from "@unseal/queue/accounting"
import { listSuspensions } from "@unseal/queue/suspension/state"
import type { AppProcess } from "../../harness/process.ts"
import { DESTINATION_NAME } from "../../harness/stores.ts"
import { PROJECT_ID } from "../../harness/system.ts"
import type { Archive } from "../../harness/worker-system.ts"
import { testWith } from "../../harness/worker-test.ts"

const MIB = 1024 * 1024
const OTHER = "200002"
const SOON = { timeout: 60_000, interval: 100 }

interface Status {
  readonly suspensions: readonly Record<string, unknown>[]
}

const test = testWith((system, expect) => {
  /** Both projects use the same stores, below keys of their own. */
  async function startTwoProjects(more: Readonly<Record<string, string>> = {}): Promise<AppProcess> {
    const { UNSEAL_SOURCE: source, UNSEAL_DESTINATION: destination, UNSEAL_KEYS: keys } = system.env
    const projects = [PROJECT_ID, OTHER].map((id) => ({ id, source, destination, keys }))
    return system.startWorkerOf(projects, more)
  }

  const accounts = async () => {
    const now = await readAccounts(system.client, "unseal")
    expect(now.missing).toBe(0)
    return now
  }
  const areRight = async (archives: readonly Archive[]) => {
    for (const archive of archives) expect(await system.digest(archive)).toBe(archive.plaintextSha256)
  }
  const status = async () =>
    JSON.parse((await system.cli(["queue", "status", "--json"])).stdout.toString()) as Status
  const suspensions = () => listSuspensions(system.client, "unseal")

  return { startTwoProjects, accounts, areRight, status, suspensions }
})

const SMALL = Array.from({ length: 13 }, (_, index) => 188 * 16 * (index + 1))

test.concurrent("missing permissions for a while: no dead letter, no attempt, the other project goes on, all is done after", async ({
  system,
  at: { startTwoProjects, accounts, areRight, status, suspensions },
  expect,
}) => {
  const sick = await system.submit(PROJECT_ID, [...SMALL, 11 * MIB, 11 * MIB])
  const denied = system.s3.faults.add({
    ...{ operation: "*", key: new RegExp(`^${PROJECT_ID}/`), times: Number.POSITIVE_INFINITY },
    action: { status: 403 },
  })
  const worker = await startTwoProjects()
  await expect.poll(async () => (await suspensions()).length, SOON).toBe(1)
  const well = await system.submit(OTHER, [...SMALL, 11 * MIB, 11 * MIB])
  await expect.poll(async () => (await accounts()).committed, SOON).toBe(well.length)
  await areRight(well)

  const [suspension] = (await status()).suspensions
  expect(suspension).toMatchObject({ projectId: PROJECT_ID, code: "ERR_STORE_DENIED", held: sick.length })
  const told = (await system.cli(["queue", "status"])).stdout.toString()
  expect(told).toMatch(
    /suspended {6}project \d+, (source|destination): ERR_STORE_DENIED since .*15 held back/,
  )
  const metrics = await (await fetch(`http://127.0.0.1:${worker.ports.admin}/metrics`)).text()
  expect(metrics).toMatch(
    new RegExp(`unseal_suspended\\{project="${PROJECT_ID}",side="\\w+",code="ERR_STORE_DENIED"\\} 1`),
  )
  expect(metrics).toMatch(new RegExp(`unseal_suspended_seconds\\{project="${PROJECT_ID}".*\\} [\\d.]+`))

  denied.remove()
  const resumed = await system.cli(["queue", "resume", "--project", PROJECT_ID])
  expect(resumed).toMatchObject({ code: 0, stdout: expect.anything() })
  await expect.poll(async () => (await accounts()).committed, SOON).toBe(sick.length + well.length)
  expect(await accounts()).toMatchObject({ deadLetters: 0, live: 0 })
  await areRight(sick)
  // Each was completed by its first attempt.
  expect(new Set(await system.attempts())).toEqual(new Set(["1"]))
  expect(system.s3.openUploads()).toEqual([])
  expect(await status()).toMatchObject({ suspensions: [] })
  expect(await system.cli(["queue", "resume", "--project", PROJECT_ID])).toMatchObject({
    ...{ code: 0, stderr: expect.stringContaining(`project ${PROJECT_ID} is not suspended`) },
  })
}, 180_000)

test.concurrent("a store that disappears between parts suspends its project, and each archive continues where it was", async ({
  system,
  at: { startTwoProjects, accounts, areRight, suspensions },
  expect,
}) => {
  const archives = await system.submit(PROJECT_ID, [24 * MIB, 24 * MIB])
  const down = system.s3.faults.add({
    ...{ operation: "UploadPart", after: 4, times: Number.POSITIVE_INFINITY, action: { status: 500 } },
  })
  await startTwoProjects({ UNSEAL_PART_SIZE_BYTES: String(5 * MIB), UNSEAL_PARTS_IN_FLIGHT: "4" })
  await expect
    .poll(async () => (await suspensions())[0], SOON)
    .toMatchObject({
      ...{ side: "destination", code: "ERR_STORE_UNAVAILABLE", held: 2 },
    })
  down.remove()
  await expect.poll(async () => (await accounts()).committed, SOON).toBe(2)
  expect(await accounts()).toMatchObject({ deadLetters: 0, live: 0 })
  await areRight(archives)
  const begun = ({ bucket }: { bucket: string }) => bucket === DESTINATION_NAME
  expect(system.s3.operations.count("CreateMultipartUpload", begun)).toBe(2)
  expect(system.s3.operations.count("AbortMultipartUpload")).toBe(0)
}, 180_000)

test.concurrent("an archive that was held as long as allowed is a dead letter, and its redrive uploads no part twice", async ({
  system,
  at: { startTwoProjects, accounts, areRight },
  expect,
}) => {
  const [archive] = await system.submit(PROJECT_ID, [24 * MIB])
  const down = system.s3.faults.add({
    ...{ operation: "UploadPart", after: 2, times: Number.POSITIVE_INFINITY, action: { status: 500 } },
  })
  const small = { UNSEAL_PART_SIZE_BYTES: String(5 * MIB), UNSEAL_PARTS_IN_FLIGHT: "1" }
  await startTwoProjects({ ...small, UNSEAL_SUSPEND_MAX_MS: "3s" })
  await expect.poll(async () => (await accounts()).deadLetters, SOON).toBe(1)
  const [letter] = JSON.parse((await system.cli(["queue", "dead-letters", "--json"])).stdout.toString())
  expect(letter).toMatchObject({
    code: "ERR_STORE_UNAVAILABLE",
    reason: expect.stringContaining("held back for"),
  })
  expect(system.s3.openUploads()).toHaveLength(1)
  const sweep = await system.cli(["janitor", "--older-than", "1s", "--json"])
  expect(JSON.parse(sweep.stdout.toString()).stores[0]).toMatchObject({ owned: 1, aborted: [] })

  down.remove()
  system.s3.operations.clear()
  expect(await system.cli(["queue", "redrive", "--all"])).toMatchObject({ code: 0 })
  await expect.poll(async () => (await accounts()).committed, SOON).toBe(1)
  await areRight([archive!])
  // Two of five parts were there.
  expect(system.s3.operations.count("UploadPart")).toBe(3)
  expect(system.s3.operations.count("CreateMultipartUpload")).toBe(0)
  expect(system.s3.openUploads()).toEqual([])
}, 180_000)

test.concurrent("a single archive that is denied is finally given up, and its neighbours are not held up", async ({
  system,
  at: { startTwoProjects, accounts },
  expect,
}) => {
  const [bad] = await system.submit(PROJECT_ID, [188 * 160])
  system.s3.faults.add({
    ...{ operation: "PutObject", key: bad!.key, times: Number.POSITIVE_INFINITY, action: { status: 403 } },
  })
  await startTwoProjects()
  let good = 0
  while ((await accounts()).deadLetters === 0) {
    expect(good).toBeLessThan(100)
    await system.submit(PROJECT_ID, [188 * 240])
    good++
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
  await expect.poll(async () => (await accounts()).committed, SOON).toBe(good)
  const [letter] = JSON.parse((await system.cli(["queue", "dead-letters", "--json"])).stdout.toString())
  expect(letter).toMatchObject({ archiveId: bad!.archiveId, code: "ERR_STORE_DENIED" })
}, 180_000)

test.concurrent("keys are removed and put back: everything that arrived meanwhile is decrypted", async ({
  system,
  at: { startTwoProjects, accounts, areRight, suspensions },
  expect,
}) => {
  const keys = join(system.directory, "keys")
  await rename(keys, `${keys}-away`)
  await mkdir(keys)
  const archives = await system.submit(PROJECT_ID, SMALL)
  await startTwoProjects()
  await expect
    .poll(suspensions, SOON)
    .toMatchObject([
      { projectId: PROJECT_ID, side: "keys", code: "ERR_KEY_SERVICE_UNAVAILABLE", held: archives.length },
    ])
  await rm(keys, { recursive: true })
  await rename(`${keys}-away`, keys)
  await expect.poll(async () => (await accounts()).committed, SOON).toBe(archives.length)
  expect(await accounts()).toMatchObject({ deadLetters: 0, live: 0 })
  await areRight(archives)
}, 180_000)

test.concurrent("a destination directory that is not mounted suspends, and is written to as soon as it is there", async ({
  system,
  at: { accounts, suspensions },
  expect,
}) => {
  const out = join(system.directory, "mounted")
  const archives = await system.submit(PROJECT_ID, SMALL)
  await system.startWorker({ UNSEAL_DESTINATION: pathToFileURL(out).href })
  await expect
    .poll(suspensions, SOON)
    .toMatchObject([{ side: "destination", held: archives.length, reason: expect.stringContaining(out) }])
  await mkdir(out)
  await chmod(out, 0o700)
  await expect.poll(async () => (await accounts()).committed, SOON).toBe(archives.length)
  expect(await accounts()).toMatchObject({ deadLetters: 0, live: 0 })
  expect(await readdir(join(out, PROJECT_ID))).toHaveLength(archives.length)
}, 180_000)

test.skipIf(process.getuid?.() !== 0).concurrent(
  "a disk that is full suspends with its folder's name, and goes on once there is space",
  async ({ system, at: { accounts, suspensions }, expect }) => {
    const out = join(system.directory, "small")
    await mkdir(out)
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", out])
    try {
      await writeFile(join(out, "ballast"), Buffer.alloc(3 * MIB))
      const archives = await system.submit(PROJECT_ID, [2 * MIB, 188 * 160])
      await system.startWorker({ UNSEAL_DESTINATION: pathToFileURL(out).href })
      await expect.poll(suspensions, SOON).toMatchObject([
        {
          side: "destination",
          code: "ERR_STORE_FULL",
          reason: expect.stringContaining(`no space is left in ${out}`),
        },
      ])
      expect(await accounts()).toMatchObject({ deadLetters: 0 })
      await rm(join(out, "ballast"))
      await expect.poll(async () => (await accounts()).committed, SOON).toBe(archives.length)
      expect((await system.attempts()).every((attempts) => attempts === "1")).toBe(true)
    } finally {
      execFileSync("umount", ["--lazy", out])
    }
  },
  180_000,
)
