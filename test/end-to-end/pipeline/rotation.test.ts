/** A key is rotated while archives of the old and the new certificate are waiting. All of them are decrypted. */
import { randomUUID, X509Certificate } from "node:crypto"
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { openDeadLetters } from "@unseal/queue/dead-letters/dead-letters"
import { createProducer } from "@unseal/queue/enqueue/producer"
import { createJobPayload } from "@unseal/queue/jobs/job"
import { queueStatus } from "@unseal/queue/status"
import { makeRecording } from "@unseal/simulator/recording/recording"
import { Redis } from "ioredis"
import { expect, onTestFinished, test } from "vitest"
import { runCli, startApp } from "../../harness/process.ts"
import { startRedis } from "../../harness/redis/redis.ts"

const sample = await readFile(join(import.meta.dirname, "../../vectors/audio-only-12s.mpegts"))
const PROJECT = "100001"

test("a key is rotated under load without a failure, and the old one is not needed once its archives are done", async () => {
  const ends: (() => Promise<unknown> | unknown)[] = []
  onTestFinished(async () => {
    for (const end of ends.reverse()) await end()
  })
  const directory = await mkdtemp(join(tmpdir(), "unseal-rotation-"))
  ends.push(() => rm(directory, { recursive: true, force: true }))
  for (const name of ["in", "out", "keys", "new"]) await mkdir(join(directory, name))
  const path = (...names: string[]) => join(directory, ...names)
  const redis = await startRedis()
  const connection = new Redis(redis.url)
  const producer = createProducer({ connection, queue: "unseal", deadlineMs: 10_000 })
  ends.push(
    () => redis.close(),
    () => connection.disconnect(),
    () => producer.close(),
  )

  /** README's rotation: a new pair, made elsewhere and moved in whole, its passphrase first. */
  async function putKey(name: string): Promise<X509Certificate> {
    const args = ["--out", path("new", `${name}-cert.pem`), "--keyout", path("new", `${name}.pem`)]
    const { code, stderr } = await runCli(["certificate", "create", "--generate-passphrase", ...args])
    expect(code, stderr).toBe(0)
    for (const file of [`${name}.passphrase`, `${name}-cert.pem`, `${name}.pem`])
      await rename(path("new", file), path("keys", file))
    return new X509Certificate(await readFile(path("keys", `${name}-cert.pem`)))
  }

  const digests = new Map<string, string>()
  async function record(certificate: X509Certificate): Promise<string> {
    const archiveId = randomUUID()
    const recording = makeRecording({
      sample,
      publicKey: certificate.publicKey,
      size: 400_000,
      tail: "pkcs7",
    })
    await mkdir(path("in", PROJECT, archiveId), { recursive: true })
    await writeFile(path("in", PROJECT, archiveId, "archive.ts"), Buffer.concat([...recording.ciphertext]))
    digests.set(archiveId, recording.digests().plaintext)
    const { encryptedPassword, size } = recording
    await producer.enqueue(
      createJobPayload({
        ...{ projectId: PROJECT, archiveId, encryptedPassword, size, status: "uploaded" },
        ...{ receivedAt: new Date().toISOString(), nonce: randomUUID() },
      }),
    )
    return archiveId
  }
  const jobs = async () => (await queueStatus(connection, "unseal")).jobs

  const before = await putKey("2026")
  for (let i = 0; i < 25; i++) await record(before)
  const worker = await startApp("worker", {
    env: {
      ...{ REDIS_URL: redis.url, UNSEAL_HOST: "127.0.0.1", UNSEAL_ADMIN_PORT: "0", UNSEAL_CONCURRENCY: "2" },
      ...{ UNSEAL_PROJECT_ID: PROJECT, UNSEAL_KEYS: path("keys") },
      UNSEAL_SOURCE: pathToFileURL(path("in")).href,
      UNSEAL_DESTINATION: pathToFileURL(path("out")).href,
    },
  })
  ends.push(() => worker.stop())
  const metrics = async () => (await fetch(`http://127.0.0.1:${worker.ports.admin}/metrics`)).text()
  const expiries = async () => (await metrics()).match(/^unseal_certificate_expiry_seconds\{.*$/gm) ?? []
  // The worker opens its keys in parallel with its start.
  await expect.poll(expiries, { timeout: 30_000 }).toHaveLength(1)

  // The key first, then the certificate for the vendor. Archives begun before still use the old one.
  const after = await putKey("2027")
  for (let i = 0; i < 25; i++) {
    await record(after)
    if (i % 3 === 0) await record(before)
  }
  await expect
    .poll(async () => (await jobs()).completed, { timeout: 120_000, interval: 200 })
    .toBe(digests.size)
  expect(await jobs()).toEqual({ waiting: 0, active: 0, delayed: 0, completed: digests.size, failed: 0 })
  for (const [archiveId, digest] of digests) {
    const written = JSON.parse(await readFile(path("out", PROJECT, archiveId, "archive.json"), "utf8"))
    expect(written).toMatchObject({ sha256: { plaintext: digest }, attempts: 1 })
  }
  expect(await expiries()).toHaveLength(2)
  expect(await metrics()).toContain(`unseal_key_files_unusable{project="${PROJECT}"} 0`)

  // A removed key is gone without a restart, and only its own archives miss it.
  for (const file of ["2026.pem", "2026.passphrase", "2026-cert.pem"]) await rm(path("keys", file))
  await expect.poll(expiries, { timeout: 30_000 }).toHaveLength(1)
  const late = await record(before)
  await record(after)
  await expect.poll(async () => (await jobs()).failed, { timeout: 60_000 }).toBe(1)
  await expect.poll(async () => (await jobs()).completed, { timeout: 60_000 }).toBe(digests.size - 1)
  const letters = openDeadLetters({ connection, queue: "unseal" })
  ends.push(() => letters.close())
  expect(await letters.list()).toMatchObject([{ archiveId: late, code: "ERR_NO_MATCHING_KEY" }])
}, 240_000)
