/** A worker on a store with a different clock and a bucket that it may not list: it works, and reports both. */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { startWorkerSystem, type WorkerSystem } from "../../harness/worker-system.ts"

const MIB = 1024 * 1024
const SOON = { timeout: 60_000, interval: 100 }

let system: WorkerSystem
beforeEach(async () => {
  system = await startWorkerSystem()
})
afterEach(() => system.close())

test("archives of one part and of three are decrypted, and the operator is told what to fix", async () => {
  const archives = [system.make(188 * 1000), system.make(12 * MIB + 16)]
  for (const archive of archives) await system.upload(archive)
  for (const quirk of ["clock-ahead", "hidden-keys"] as const) system.s3.quirks.add(quirk)
  const template = "{projectId}/{archiveId}/archive.ts"
  const worker = await system.startWorker({
    UNSEAL_PART_SIZE_BYTES: String(5 * MIB),
    UNSEAL_SOURCE_KEYS: `elsewhere/${template},${template}`,
  })
  for (const archive of archives) await system.enqueue(archive)
  for (const archive of archives)
    await expect.poll(() => system.digest(archive), SOON).toBe(archive.plaintextSha256)

  const metrics = await (await fetch(`http://127.0.0.1:${worker.ports.admin}/metrics`)).text()
  const sample = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(metrics)?.[1])
  expect(Math.abs(sample("unseal_clock_skew_seconds") - 3600)).toBeLessThan(60)
  expect(sample("unseal_blind_looks_total")).toBeGreaterThanOrEqual(4)
  const lines = worker.log.filter(({ notice }) => notice !== undefined)
  const said = (notice: string) => lines.filter((line) => line.notice === notice)
  // Once for the source and once for the destination.
  expect(
    said("clock-skew")
      .map(({ store }) => store)
      .sort(),
  ).toEqual(["s3://decrypted", "s3://recordings"])
  expect(said("blind").map(({ msg }) => msg)).toEqual(
    Array(2).fill(expect.stringContaining("grant s3:ListBucket")),
  )

  const missing = system.make(752)
  await system.enqueue(missing)
  await expect
    .poll(() => JSON.stringify(worker.log), SOON)
    .toContain("or the credentials can't see it: they lack the permission s3:ListBucket")
  await system.upload(missing)
  await expect.poll(() => system.digest(missing), SOON).toBe(missing.plaintextSha256)
})

test("on the command line, each thing to fix is one line on stderr, however many requests there are", async () => {
  const archive = system.make(12 * MIB + 16)
  await system.upload(archive)
  for (const quirk of ["clock-ahead", "hidden-keys"] as const) system.s3.quirks.add(quirk)
  const objectIn = (url: string) => url.replace("?", `/${archive.key}?`).replace("us-east-1", "eu-west-1")
  const password = join(system.directory, "password.b64")
  await writeFile(password, archive.encryptedPassword)
  const { code, stdout, stderr } = await system.cli([
    ...["decrypt", objectIn(system.env.UNSEAL_SOURCE!), objectIn(system.env.UNSEAL_DESTINATION!)],
    ...["--password-file", password, "--key", system.keyFile],
  ])
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) })
  expect(await system.digest(archive)).toBe(archive.plaintextSha256)
  expect(stdout.toString()).toBe("")
  const said = stderr.split("\n").filter((line) => line.startsWith("unseal: s3://"))
  const about = (store: string, words: RegExp) =>
    said.filter((line) => line.startsWith(`unseal: s3://${store}`) && words.test(line))
  for (const store of ["recordings", "decrypted"]) {
    expect(about(store, /clock is \d+ s ahead of this machine's/)).toHaveLength(1)
    expect(about(store, /add region=us-east-1 to the store's URL/)).toHaveLength(1)
  }
  expect(about("decrypted", /grant s3:ListBucket/)).toHaveLength(1)
  expect(said).toHaveLength(5)
})
