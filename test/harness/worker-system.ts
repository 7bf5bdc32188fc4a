/** Workers on a Redis and an S3 server of the test's own process, which sees every request and can make it fail. */
import { createHash, randomUUID, X509Certificate } from "node:crypto"
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { ArchiveStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { readSmallObject, writeSmallObject } from "@unseal/archive/store/small-object"
import { createProducer } from "@unseal/queue/enqueue/producer"
import { createJobPayload, type JobPayload } from "@unseal/queue/jobs/job"
import { queueKey } from "@unseal/queue/names"
import { createRedis, type RedisClient } from "@unseal/service/redis/redis"
import { createCertificate } from "@unseal/simulator/recording/openssl"
import { makeRecording } from "@unseal/simulator/recording/recording"
import { type S3Server, startS3Server } from "@unseal/simulator/s3/http/server"
import { poisoned } from "./poisoned.ts"
import { type AppProcess, type CliResult, runCli, startApp } from "./process.ts"
import { type RedisForm, type RedisFormName, startRedisForm } from "./redis/form.ts"
import { printedPolicies, S3_USERS, withProfile, writeProfiles } from "./stores/policies.ts"
import { DESTINATION_NAME, S3_CREDENTIAL, SOURCE_NAME, s3Stores } from "./stores.ts"
import { PROJECT_ID } from "./system.ts"

/** An encrypted archive, made by the simulator's code. */
export interface Archive {
  readonly archiveId: string
  readonly encryptedPassword: string
  readonly ciphertext: Buffer
  /** Hex SHA-256 of the output of `openssl enc -d -nopad`. */
  readonly plaintextSha256: string
  /** The key by the default template, at both source and destination. */
  readonly key: string
}

export interface WorkerSystem {
  readonly directory: string
  readonly keyFile: string
  readonly redis: RedisForm
  /** A connection to the queue's Redis. */
  readonly client: RedisClient
  readonly s3: S3Server
  readonly source: ArchiveStore
  readonly destination: ArchiveStore
  /** The environment that a worker and the CLI need. */
  readonly env: Readonly<Record<string, string>>
  startWorker(env?: Readonly<Record<string, string>>): Promise<AppProcess>
  cli(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<CliResult>
  /** Makes an archive of exactly `size` bytes. Uploads nothing yet. */
  make(size: number): Archive
  /** Uploads an archive as the vendor does. */
  upload(archive: Archive): Promise<void>
  enqueue(archive: Archive, fields?: Partial<JobPayload>): Promise<string>
  /** Makes, uploads and enqueues a project's archives of `sizes`, below keys of its own. */
  submit(projectId: string, sizes: readonly number[]): Promise<Archive[]>
  /** Starts a worker for `projects`, in the form of a projects file, instead of the system's only one. */
  startWorkerOf(projects: readonly object[], env?: Readonly<Record<string, string>>): Promise<AppProcess>
  /** How many attempts each finished archive has used, in Redis' own form. */
  attempts(): Promise<(string | null)[]>
  /** Hex SHA-256 of the archive at the destination, or `null`. */
  digest(archive: Archive): Promise<string | null>
  close(): Promise<void>
}

const LIMIT = 2 ** 30

export async function startWorkerSystem(
  options: {
    readonly redis?: RedisFormName
    /** Limits workers and commands to what docs/permissions.md prints. */
    readonly policies?: boolean
  } = {},
): Promise<WorkerSystem> {
  const directory = await mkdtemp(join(tmpdir(), "unseal-workers-"))
  const closing: (() => unknown)[] = [() => rm(directory, { recursive: true, force: true })]
  const close = async () => {
    for (let undo = closing.pop(); undo !== undefined; undo = closing.pop()) await undo()
  }
  try {
    const keysDirectory = join(directory, "keys")
    await mkdir(keysDirectory)
    const keyFile = join(keysDirectory, "key.pem")
    const certificateFile = join(directory, "cert.pem")
    await createCertificate({ certificateFile, keyFile })
    const publicKey = new X509Certificate(await readFile(certificateFile)).publicKey
    const sample = await readFile(join(import.meta.dirname, "../vectors/audio-only-12s.mpegts"))

    const redis = await startRedisForm(options.redis ?? "plain")
    closing.push(() => redis.close())
    const client = createRedis({ REDIS_URL: redis.url, ...redis.env }, {})
    client.on("error", () => {})
    await client.connect()
    closing.push(() => client.disconnect())
    const s3 = await startS3Server({
      credentials: [
        {
          accessKeyId: S3_CREDENTIAL.AWS_ACCESS_KEY_ID,
          secretAccessKey: S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY,
        },
        ...S3_USERS,
      ],
      policies: Object.fromEntries(S3_USERS.map((user) => [user.accessKeyId, printedPolicies()[user.name]])),
      buckets: [SOURCE_NAME, DESTINATION_NAME],
    })
    closing.push(() => s3.close())
    const stores = s3Stores(s3.port)
    const { policies = false } = options
    const env = {
      ...(policies ? await writeProfiles(directory) : stores.env),
      ...redis.env,
      UNSEAL_PROJECT_ID: PROJECT_ID,
      UNSEAL_SOURCE: policies ? withProfile("source", stores.source) : stores.source,
      UNSEAL_DESTINATION: policies ? withProfile("destination", stores.destination) : stores.destination,
      UNSEAL_KEYS: keysDirectory,
    }
    // The SDK's own chain reads this process's environment.
    Object.assign(process.env, stores.env)
    const open = async (url: string) => {
      const store = poisoned(await openStore(url, { env: stores.env }))
      closing.push(() => store.close())
      return store
    }
    const [source, destination] = [await open(stores.source), await open(stores.destination)]
    const producer = createProducer({ connection: client, queue: "unseal", deadlineMs: 20_000 })
    closing.push(() => producer.close())
    const signal = AbortSignal.timeout(600_000)

    const system: WorkerSystem = {
      ...{ directory, keyFile, redis, client, s3, source, destination, env, close },
      async startWorker(more) {
        const worker = await startApp("worker", {
          env: {
            ...{ ...env, UNSEAL_HOST: "127.0.0.1", UNSEAL_ADMIN_PORT: "0" },
            ...{ UNSEAL_LOCK_MS: "2000", UNSEAL_STALL_CHECK_MS: "500" },
            ...more,
          },
        })
        closing.push(() => worker.stop())
        return worker
      },
      cli: (args, more) => runCli(args, { env: { ...env, ...more } }),
      make(size) {
        const archiveId = randomUUID()
        const tail = size % 188 === 0 ? "none" : "zero"
        const recording = makeRecording({ sample, publicKey, size, exact: true, tail })
        const ciphertext = Buffer.concat([...recording.ciphertext])
        return {
          ...{ archiveId, ciphertext, encryptedPassword: recording.encryptedPassword },
          plaintextSha256: recording.digests().plaintext,
          key: `${PROJECT_ID}/${archiveId}/archive.ts`,
        }
      },
      async upload({ key, ciphertext }) {
        await writeSmallObject(source, key, ciphertext, "video/mp2t", signal)
      },
      async enqueue({ archiveId, encryptedPassword }, fields) {
        const { jobId } = await producer.enqueue(
          createJobPayload({
            ...{ projectId: PROJECT_ID, archiveId, encryptedPassword, status: "uploaded" },
            ...{ receivedAt: new Date().toISOString(), nonce: randomUUID() },
            ...fields,
          }),
        )
        return jobId
      },
      async submit(projectId, sizes) {
        const archives = sizes.map((size) => {
          const made = system.make(size)
          return { ...made, key: made.key.replace(PROJECT_ID, projectId) }
        })
        for (const archive of archives) {
          await system.upload(archive)
          await system.enqueue(archive, { projectId })
        }
        return archives
      },
      async startWorkerOf(projects, more) {
        const file = join(directory, "projects.json")
        await writeFile(file, JSON.stringify({ projects }))
        const none = { UNSEAL_PROJECT_ID: "", UNSEAL_SOURCE: "", UNSEAL_DESTINATION: "", UNSEAL_KEYS: "" }
        return system.startWorker({ ...none, UNSEAL_PROJECTS_FILE: file, ...more })
      },
      async attempts() {
        const ids = await client.zrange(queueKey("unseal", "completed"), 0, "-1")
        return Promise.all(ids.map((id) => client.hget(queueKey("unseal", id), "atm")))
      },
      async digest({ key }) {
        const object = await destination.stat(key, signal)
        if (object === null) return null
        const bytes = await readSmallObject(destination, object, LIMIT, signal)
        return createHash("sha256").update(bytes).digest("hex")
      },
    }
    return system
  } catch (error) {
    await close()
    throw error
  }
}
