/** A backfill over archives in archival classes: asked back two at a time, decrypted as they come, although its worker is killed. */
import { createHash } from "node:crypto"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { CopyObjectCommand, HeadObjectCommand, S3Client } from "@aws-sdk/client-s3"
import { readSmallObject } from "@unseal/archive/store/small-object"
import { Redis } from "ioredis"
import { afterAll, beforeAll, expect, it } from "vitest"
import { runCli } from "../harness/process.ts"
import { S3_CREDENTIAL, SOURCE_NAME } from "../harness/stores.ts"
import { PROJECT_ID, type System, startSystem } from "../harness/system.ts"

const signal = AbortSignal.timeout(1_800_000)
const ARCHIVES = 5
const COLD = ["GLACIER", "DEEP_ARCHIVE", "GLACIER", "DEEP_ARCHIVE"] as const

let directory: string
let system: System
let s3: S3Client
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-cold-"))
  system = await startSystem({ store: "s3", workers: 0, simulatorEnv: { SIMULATOR_S3_RESTORE_MS: "2s" } })
  s3 = new S3Client({
    endpoint: `http://127.0.0.1:${system.simulator.ports.s3}`,
    ...{ region: "us-east-1", forcePathStyle: true },
    credentials: {
      accessKeyId: S3_CREDENTIAL.AWS_ACCESS_KEY_ID,
      secretAccessKey: S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY,
    },
  })
}, 120_000)
afterAll(async () => {
  s3?.destroy()
  await system?.close()
  await rm(directory, { recursive: true })
})

async function unseal(...args: string[]): Promise<string> {
  const env = {
    ...{ ...system.env, UNSEAL_PROJECT_ID: PROJECT_ID, UNSEAL_KEYS: dirname(system.keyFile) },
    ...{ UNSEAL_SOURCE: system.stores.source, UNSEAL_DESTINATION: system.stores.destination },
  }
  const { code, stdout, stderr } = await runCli(args, { env })
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) })
  return stdout.toString()
}
const restoreOf = async (key: string): Promise<string | undefined> =>
  (await s3.send(new HeadObjectCommand({ Bucket: SOURCE_NAME, Key: key }))).Restore

it("asks each object back, keeps to its limit, and ends with every archive right", async () => {
  await system.record({ size: 300_000, count: ARCHIVES })
  const stored = async () => (await system.archives()).filter(({ status }) => status === "uploaded")
  await expect
    .poll(
      async () => (await stored()).filter(({ callbacks }) => callbacks.at(-1)?.outcome === "accepted").length,
      {
        timeout: 120_000,
      },
    )
    .toBe(ARCHIVES)
  const archives = await Promise.all((await stored()).map(({ id }) => system.archive(id)))
  // Nobody has their callbacks any more but the operator.
  const client = new Redis(system.redis.url)
  await client.flushall()
  client.disconnect()
  const rows = archives.map(({ id, recording }) => `${id},${PROJECT_ID},${recording.encryptedPassword}\n`)
  const manifest = join(directory, "years.csv")
  await writeFile(manifest, `archiveId,projectId,password\n${rows.join("")}`)
  const cold = archives.slice(0, COLD.length)
  for (const [index, { key }] of cold.entries())
    await s3.send(
      new CopyObjectCommand({
        ...{ Bucket: SOURCE_NAME, Key: key, CopySource: `${SOURCE_NAME}/${key}` },
        StorageClass: COLD[index]!,
      }),
    )

  const plan = JSON.parse(await unseal("backfill", "plan", manifest, "--restore", "bulk", "--json"))
  expect(plan).toMatchObject({
    archives: ARCHIVES,
    projects: {
      [PROJECT_ID]: {
        fresh: { archives: 1 },
        archived: { GLACIER: { archives: 2 }, DEEP_ARCHIVE: { archives: 2 } },
      },
    },
    estimate: { restores: { requests: 4 }, hours: { restoring: 48 } },
  })

  const first = await system.startWorker()
  const limits = ["--restore", "bulk", "--restore-most", "2", "--json"]
  const { id } = JSON.parse(await unseal("backfill", "start", manifest, ...limits)) as { id: string }
  const askedBack = async () =>
    (await Promise.all(cold.map(({ key }) => restoreOf(key)))).filter((restore) => restore !== undefined)
      .length
  await expect.poll(askedBack, { timeout: 120_000 }).toBe(2)
  process.kill(first.pid, "SIGKILL")
  await system.startWorker()

  const status = async () => JSON.parse(await unseal("backfill", "status", id, "--json"))
  await expect
    .poll(
      async () => {
        const { outcomes, endedAt } = await status()
        return { committed: outcomes.committed, hasEnded: endedAt !== null }
      },
      { timeout: 1_200_000, interval: 5_000 },
    )
    .toEqual({ committed: ARCHIVES, hasEnded: true })
  expect(await askedBack()).toBe(COLD.length)
  for (const { id: archiveId, sha256 } of archives) {
    const object = await system.destination.stat(`${PROJECT_ID}/${archiveId}/archive.ts`, signal)
    const bytes = await readSmallObject(system.destination, object!, 2 ** 30, signal)
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(sha256.plaintext)
  }
}, 1_500_000)
