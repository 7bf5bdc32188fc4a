/** Many projects in one file: one project's things are never used for another, and running processes follow the file. */
import { createHash, createHmac, randomUUID, X509Certificate } from "node:crypto"
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3"
import { openDeadLetters } from "@unseal/queue/dead-letters/dead-letters"
import { createCertificate } from "@unseal/simulator/recording/openssl"
import { makeRecording } from "@unseal/simulator/recording/recording"
import { type S3Server, startS3Server } from "@unseal/simulator/s3/http/server"
import { Redis } from "ioredis"
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest"
import { type AppProcess, startApp } from "../../harness/process.ts"
import { type RedisServer, startRedis } from "../../harness/redis/redis.ts"
import { S3_CREDENTIAL } from "../../harness/stores.ts"

const sample = await readFile(join(import.meta.dirname, "../../vectors/audio-only-12s.mpegts"))
const [A, B, C] = ["100001", "200002", "300003"] as const
const SOON = { timeout: 60_000, interval: 100 }

let directory: string
let redis: RedisServer
let client: Redis
let s3: S3Server
let objects: S3Client
let ingest: AppProcess
let worker: AppProcess
const ends: (() => Promise<unknown> | unknown)[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-projects-"))
  ends.push(() => rm(directory, { recursive: true, force: true }))
  for (const id of [A, B, C]) {
    await mkdir(join(directory, id))
    await createCertificate({
      certificateFile: join(directory, `${id}.cert`),
      keyFile: join(directory, id, "key.pem"),
    })
    await writeFile(join(directory, `${id}.secret`), `secret of ${id}\n`)
  }
  redis = await startRedis()
  client = new Redis(redis.url)
  ends.push(
    () => redis.close(),
    () => client.disconnect(),
  )
  s3 = await startS3Server({
    credentials: [
      { accessKeyId: S3_CREDENTIAL.AWS_ACCESS_KEY_ID, secretAccessKey: S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY },
    ],
    buckets: [A, B, C].flatMap((id) => [`in-${id}`, `out-${id}`, `other-${id}`]),
  })
  objects = new S3Client({
    ...{ endpoint: s3.url, region: "us-east-1", forcePathStyle: true },
    credentials: {
      accessKeyId: S3_CREDENTIAL.AWS_ACCESS_KEY_ID,
      secretAccessKey: S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY,
    },
  })
  ends.push(
    () => s3.close(),
    () => objects.destroy(),
  )
  await configure(project(A), project(B))
  const env = {
    ...{ REDIS_URL: redis.url, UNSEAL_HOST: "127.0.0.1", UNSEAL_ADMIN_PORT: "0" },
    UNSEAL_PROJECTS_FILE: join(directory, "projects.yaml"),
  }
  ingest = await startApp("ingest", { env: { ...env, UNSEAL_PORT: "0" } })
  ends.push(() => ingest.stop())
  worker = await startApp("worker", { env: { ...env, ...S3_CREDENTIAL } })
  ends.push(() => worker.stop())
  // The worker's own look at its start has nothing to do with an archive.
  const looked = () => worker.log.filter(({ msg }) => String(msg).startsWith("project is ")).length
  await vi.waitFor(() => expect(looked()).toBe(2), { timeout: 60_000 })
}, 120_000)
afterAll(async () => {
  for (const end of ends.reverse()) await end()
}, 60_000)

beforeEach(() => s3.operations.clear())
afterEach(() => configure(project(A), project(B)))

const store = (bucket: string) => `"s3://${bucket}?endpoint=${s3.url}&region=us-east-1&pathStyle=true"`
const project = (id: string, destination = `out-${id}`) => `
  - id: ${id}
    signatureSecretFile: ${id}.secret
    keys: ./${id}
    source: ${store(`in-${id}`)}
    destination: ${store(destination)}`

async function configure(...projects: string[]): Promise<void> {
  await writeFile(join(directory, "projects.new"), `projects:${projects.join("")}\n`)
  await rename(join(directory, "projects.new"), join(directory, "projects.yaml"))
}

/** An archive in the project's bucket, under the certificate of `owner`. */
async function record(id: string, owner = id) {
  const { publicKey } = new X509Certificate(await readFile(join(directory, `${owner}.cert`)))
  const recording = makeRecording({ sample, publicKey, size: 50_000, tail: "pkcs7" })
  const archiveId = randomUUID()
  await objects.send(
    new PutObjectCommand({
      ...{ Bucket: `in-${id}`, Key: `${id}/${archiveId}/archive.ts` },
      Body: Buffer.concat([...recording.ciphertext]),
    }),
  )
  s3.operations.clear()
  return { archiveId, encryptedPassword: recording.encryptedPassword, digests: recording.digests() }
}

async function call(
  route: string,
  { archiveId, encryptedPassword }: { archiveId: string; encryptedPassword: string },
  secretOf = route,
): Promise<number> {
  const body = JSON.stringify({
    id: archiveId,
    event: "archive",
    status: "uploaded",
    password: encryptedPassword,
  })
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
  const payload_hash = createHash("sha256").update(body).digest("hex")
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ iss: "Vonage", iat: Math.floor(Date.now() / 1_000), jti: randomUUID(), payload_hash })}`
  const signature = createHmac("sha256", `secret of ${secretOf}`).update(signed).digest("base64url")
  const response = await fetch(`http://127.0.0.1:${ingest.ports.http}/callbacks/${route}`, {
    ...{ method: "POST", body },
    headers: { "content-type": "application/json", authorization: `Bearer ${signed}.${signature}` },
  })
  await response.text()
  return response.status
}

async function plaintextDigest(bucket: string, id: string, archiveId: string): Promise<string | null> {
  const got = await objects
    .send(new GetObjectCommand({ Bucket: bucket, Key: `${id}/${archiveId}/archive.ts` }))
    .catch(() => null)
  return got
    ? createHash("sha256")
        .update(await got.Body!.transformToByteArray())
        .digest("hex")
    : null
}

async function deadLetterOf(archiveId: string) {
  const letters = openDeadLetters({ connection: client, queue: "unseal" })
  try {
    return (await letters.list()).find((letter) => letter.archiveId === archiveId)
  } finally {
    await letters.close()
  }
}

const metrics = async (app: AppProcess) => (await fetch(`http://127.0.0.1:${app.ports.admin}/metrics`)).text()
const touched = () => [...new Set(s3.operations.entries().map(({ bucket }) => bucket))].sort()

test("each project's archives come from its own store, by its own key, into its own store", async () => {
  const [one, two] = [await record(A), await record(B)]
  expect(await call(A, one)).toBe(202)
  await expect.poll(() => plaintextDigest(`out-${A}`, A, one.archiveId), SOON).toBe(one.digests.plaintext)
  expect(touched()).toEqual([`in-${A}`, `out-${A}`])
  expect(await call(B, two)).toBe(202)
  await expect.poll(() => plaintextDigest(`out-${B}`, B, two.archiveId), SOON).toBe(two.digests.plaintext)
})

test("an archive under another project's certificate has no matching key, and the other's store is not touched", async () => {
  const foreign = await record(A, B)
  expect(await call(A, foreign)).toBe(202)
  await expect
    .poll(async () => (await deadLetterOf(foreign.archiveId))?.code, SOON)
    .toBe("ERR_NO_MATCHING_KEY")
  expect(touched()).not.toContain(`in-${B}`)
  expect(touched()).not.toContain(`out-${B}`)
  // The matching key exists, one directory further on.
  const own = await record(B, B)
  expect(await call(B, own)).toBe(202)
  await expect.poll(() => plaintextDigest(`out-${B}`, B, own.archiveId), SOON).toBe(own.digests.plaintext)
})

test("a callback signed with another project's secret is refused", async () => {
  const one = await record(A)
  expect(await call(A, one, B)).toBe(401)
  expect(await call(C, one, B)).toBe(401)
  expect(await client.keys(`*${one.archiveId}*`)).toEqual([])
  expect(await call(A, one, A)).toBe(202)
})

test("a new project is served, and a changed one uses its new destination, without a restart", async () => {
  const early = await record(C)
  expect(await call(C, early)).toBe(401)
  await configure(project(A, `other-${A}`), project(B), project(C))
  await expect.poll(() => call(C, early), SOON).toBe(202)
  await expect.poll(() => plaintextDigest(`out-${C}`, C, early.archiveId), SOON).toBe(early.digests.plaintext)
  expect(await metrics(ingest)).toContain(`unseal_callbacks_total{project="${C}",outcome="enqueued"} 1`)
  expect(await metrics(worker)).toContain(
    `unseal_archives_total{project="${C}",outcome="committed",code="none"} 1`,
  )

  await expect.poll(() => worker.log.some(({ changed }) => String(changed) === A), SOON).toBe(true)
  const moved = await record(A)
  expect(await call(A, moved)).toBe(202)
  await expect
    .poll(() => plaintextDigest(`other-${A}`, A, moved.archiveId), SOON)
    .toBe(moved.digests.plaintext)
  expect(await plaintextDigest(`out-${A}`, A, moved.archiveId)).toBeNull()
})

test("a bad file changes only a metric, and archives are still decrypted", async () => {
  await configure(project(A), "\n  - id: 200002\n    keys: 7\n    source: nowhere")
  for (const app of [ingest, worker])
    await expect
      .poll(async () => /^unseal_projects_file_invalid 1$/m.test(await metrics(app)), SOON)
      .toBe(true)
  const one = await record(B)
  expect(await call(B, one)).toBe(202)
  await expect.poll(() => plaintextDigest(`out-${B}`, B, one.archiveId), SOON).toBe(one.digests.plaintext)
  const problems = worker.log.filter(
    ({ msg }) => msg === "projects file can't be used: the projects stay as they were",
  )
  expect(problems.length).toBeGreaterThan(1)
})
