/** `unseal janitor` beside live workers, and on what dead ones left. */
import { randomUUID } from "node:crypto"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { pathToFileURL } from "node:url"
import { crc32 } from "node:zlib"
import type { ArchiveStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { readAccounts } from "@unseal/queue/accounting"
import { checkpointKey } from "@unseal/queue/names"
import { afterEach, beforeEach, expect, test } from "vitest"
import { poisoned } from "../../harness/poisoned.ts"
import { DESTINATION_NAME } from "../../harness/stores.ts"
import { PROJECT_ID } from "../../harness/system.ts"
import { startWorkerSystem, type WorkerSystem } from "../../harness/worker-system.ts"

const MIB = 1024 * 1024
const CREATE = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const
const WORKER = { UNSEAL_PART_SIZE_BYTES: String(5 * MIB), UNSEAL_PARTS_IN_FLIGHT: "4" }
const signal = AbortSignal.timeout(600_000)

let system: WorkerSystem
beforeEach(async () => {
  system = await startWorkerSystem()
})
afterEach(() => system.close())

interface JanitorResult {
  readonly dryRun: boolean
  readonly stores: readonly {
    readonly open: number
    readonly foreign: number
    readonly young: number
    readonly owned: number
    readonly aborted: readonly { readonly key: string }[]
  }[]
}

async function janitor(...args: string[]): Promise<JanitorResult["stores"][number]> {
  const { code, stdout, stderr } = await system.cli(["janitor", "--json", ...args])
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) })
  return (JSON.parse(stdout.toString()) as JanitorResult).stores[0]!
}

/** Begins an upload that nobody notes, like a worker that dies right after. */
async function orphan(store: ArchiveStore, key: string): Promise<void> {
  const writer = await store.create(key, 10 * MIB, CREATE, signal)
  await writer.writePart(1, [Buffer.alloc(writer.partSize)], crc32(Buffer.alloc(writer.partSize)), signal)
}

const ownKey = (name = "archive.ts") => `${PROJECT_ID}/${randomUUID()}/${name}`

test("orphans are aborted; young uploads, and those under foreign keys, stay", async () => {
  await orphan(system.destination, ownKey())
  await orphan(system.destination, ownKey("archive.json"))
  await orphan(system.destination, ownKey("thumbnail.ts"))
  await orphan(system.destination, `654321/${randomUUID()}/archive.ts`)
  const found = { open: 4, foreign: 2, owned: 0 }
  expect(await janitor()).toMatchObject({ ...found, young: 2, aborted: [] })
  await sleep(1_100)
  const dry = await janitor("--older-than", "1s", "--dry-run")
  expect(dry).toMatchObject({ ...found, young: 0 })
  expect(dry.aborted).toHaveLength(2)
  expect(system.s3.openUploads()).toHaveLength(4)

  expect((await janitor("--older-than", "1s")).aborted).toHaveLength(2)
  expect(system.s3.openUploads().map(({ key }) => key)).toEqual([
    expect.stringContaining("thumbnail"),
    expect.stringContaining("654321"),
  ])
})

test("it needs no source and no keys, and counts nothing that it could not look at", async () => {
  const without = { UNSEAL_SOURCE: "", UNSEAL_SOURCE_KEYS: "", UNSEAL_KEYS: "" }
  expect(await system.cli(["janitor"], without)).toMatchObject({ code: 0 })
  const nowhere = { ...without, UNSEAL_DESTINATION: "file:///nowhere/at/all" }
  const { code, stdout, stderr } = await system.cli(["janitor"], nowhere)
  expect({ code, stdout: stdout.toString() }).toEqual({ code: 1, stdout: "" })
  expect(stderr).not.toContain("0 open uploads")
})

test("a directory is swept like any other store", async () => {
  const directory = join(system.directory, "decrypted")
  await mkdir(directory)
  const url = pathToFileURL(directory).href
  const store = poisoned(await openStore(url, { env: {} }))
  await orphan(store, ownKey())
  await sleep(1_100)
  const { code, stdout } = await system.cli(["janitor", "--older-than", "1s"], { UNSEAL_DESTINATION: url })
  expect({ code, stdout: stdout.toString() }).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^aborted file:\/\/.*archive\.ts, begun 20\d\d-/),
  })
  expect(await Array.fromAsync(store.openUploads(signal))).toEqual([])
})

test("the upload of a job that waits to be resumed stays, and is resumed; that of a dead letter goes", {
  timeout: 200_000,
}, async () => {
  const archive = system.make(24 * MIB)
  await system.upload(archive)
  // The third part never completes, so the worker is killed with two safely written.
  const stuck = system.s3.faults.add({
    ...{ operation: "UploadPart", after: 2, times: Number.POSITIVE_INFINITY, action: { hang: true } },
  })
  const jobId = await system.enqueue(archive)
  const worker = await system.startWorker(WORKER)
  await expect
    .poll(() => system.client.hlen(checkpointKey("unseal", jobId)), { timeout: 30_000 })
    .toBeGreaterThanOrEqual(3)
  worker.kill("SIGKILL")
  await worker.exited
  stuck.remove()
  await sleep(1_100)
  const rounds = await Promise.all(Array.from({ length: 5 }, () => janitor("--older-than", "1s")))
  for (const round of rounds) expect(round).toMatchObject({ open: 1, owned: 1, aborted: [] })

  await system.startWorker(WORKER)
  await expect.poll(() => system.digest(archive), { timeout: 60_000 }).toBe(archive.plaintextSha256)
  const begun = ({ bucket, key }: { bucket: string; key: string }) =>
    bucket === DESTINATION_NAME && key === archive.key
  expect(system.s3.operations.count("CreateMultipartUpload", begun)).toBe(1)
  expect(system.s3.operations.count("AbortMultipartUpload")).toBe(0)
  expect(system.s3.openUploads()).toEqual([])

  // A dead letter with an upload that its worker could not remove.
  const other = system.make(24 * MIB)
  const otherId = await system.enqueue(other)
  await expect
    .poll(async () => (await readAccounts(system.client, "unseal")).live, { timeout: 30_000 })
    .toBe(1)
  await orphan(system.destination, other.key)
  const upload = {
    ...{ token: "unknown", destinationKey: other.key, sourceKey: "s", sourceEtag: "e" },
    ...{ sourceSize: 32, partSize: 16, plaintextSize: 32 },
  }
  await system.client.hset(checkpointKey("unseal", otherId), "upload", JSON.stringify(upload))
  await sleep(1_100)
  expect(await janitor("--older-than", "1s")).toMatchObject({ owned: 1, aborted: [] })
  // Its source is cut short, which is a permanent failure.
  await system.upload({ ...other, ciphertext: other.ciphertext.subarray(0, 17) })
  await expect
    .poll(async () => (await readAccounts(system.client, "unseal")).deadLetters, { timeout: 30_000 })
    .toBe(1)
  expect((await janitor("--older-than", "1s")).aborted).toEqual([
    { key: other.key, startedAt: expect.anything() },
  ])
  expect(system.s3.openUploads()).toEqual([])
})

test("five at once beside live workers that are killed take nothing in use, and leave nothing open", async () => {
  const archives = Array.from({ length: 4 }, () => system.make(11 * MIB))
  for (const archive of archives) await system.upload(archive)
  // One upload is in use from the first round to the last.
  const slow = archives[0]!
  const stuck = system.s3.faults.add({
    ...{ operation: "UploadPart", key: slow.key, after: 1, times: Number.POSITIVE_INFINITY },
    action: { hang: true },
  })
  const jobIds = await Promise.all(archives.map((archive) => system.enqueue(archive)))
  const workers = [await system.startWorker(WORKER), await system.startWorker(WORKER)]
  await expect
    .poll(() => system.client.hlen(checkpointKey("unseal", jobIds[0]!)), { timeout: 60_000 })
    .toBeGreaterThan(0)
  for (let round = 0; round < 2; round++) {
    await orphan(system.destination, ownKey())
    await sleep(1_100)
    const all = await Promise.all(Array.from({ length: 5 }, () => janitor("--older-than", "1s")))
    for (const each of all) expect(each.owned).toBeGreaterThan(0)
    workers[round]!.kill("SIGKILL")
    workers.push(await system.startWorker(WORKER))
  }
  stuck.remove()
  // These still wait for the answer that never comes.
  for (const worker of workers) worker.kill("SIGKILL")
  await system.startWorker(WORKER)
  const live = async () => (await readAccounts(system.client, "unseal")).live
  await expect.poll(live, { timeout: 120_000 }).toBe(0)
  await sleep(1_100)
  await janitor("--older-than", "1s")

  expect(system.s3.openUploads()).toEqual([])
  for (const archive of archives) expect(await system.digest(archive)).toBe(archive.plaintextSha256)
  const operations = system.s3.operations.entries()
  const usedAfterAbort = operations.filter(
    ({ operation, uploadId }, index) =>
      ["UploadPart", "CompleteMultipartUpload"].includes(operation) &&
      operations
        .slice(0, index)
        .some((earlier) => earlier.operation === "AbortMultipartUpload" && earlier.uploadId === uploadId),
  )
  expect(usedAfterAbort).toEqual([])
  expect(system.s3.operations.count("AbortMultipartUpload")).toBeGreaterThan(0)
}, 300_000)

test("an upload that can't be removed now is exit code 3, and a wrong command is 2", {
  timeout: 120_000,
}, async () => {
  const run = async (args: string[], env?: Record<string, string>) => {
    const { code, stderr } = await system.cli(["janitor", ...args], env)
    return [code, stderr]
  }
  expect(await run(["--older-than", "soon"])).toEqual([2, expect.stringContaining("--older-than must be")])
  expect(await run([], { UNSEAL_PROJECT_ID: "" })).toEqual([2, expect.stringContaining("no project")])
  expect(await run([], { REDIS_URL: "redis://127.0.0.1:1" })).toEqual([3, expect.stringContaining("redis")])
  const denied = { AWS_SECRET_ACCESS_KEY: "wrong" }
  expect(await run([], denied)).toEqual([1, expect.stringContaining("ERR_STORE_DENIED")])
  system.s3.faults.add({
    ...{ operation: "ListMultipartUploads", times: Number.POSITIVE_INFINITY, action: { status: 503 } },
  })
  expect(await run([])).toEqual([3, expect.stringContaining("ERR_STORE_BUSY")])
})
