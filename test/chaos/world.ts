/**
 * The system under test: real processes, a Redis that may be killed, the simulator's S3 server in this process, so that its
 * fault plan and its log are at hand, and a network to Redis that can fail.
 */
import { randomUUID } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { OpenedStore } from "@unseal/archive/store/adapter"
import { openStore } from "@unseal/archive/store/open"
import { writeWhole } from "@unseal/archive/store/whole"
import type { Protection } from "@unseal/service/test-settings"
import { callbackBody } from "@unseal/simulator/callback-body"
import { createCallbackSender } from "@unseal/simulator/callbacks"
import { type S3Server, startS3Server } from "@unseal/simulator/s3/server"
import { uploadArchive } from "@unseal/simulator/upload"
import { type AppProcess, startApp } from "@unseal/test/harness/process"
import { type RedisOptions, type RedisServer, startRedis } from "@unseal/test/harness/redis"
import { DESTINATION_NAME, S3_CREDENTIAL, SOURCE_NAME, s3Stores } from "@unseal/test/harness/stores"
import { Redis } from "ioredis"
import { createHistory, type History } from "./history.ts"
import { createRandom, type Random } from "./random.ts"
import { type Expected, openStudio, type Recorded, type Studio } from "./recordings.ts"
import { type RedisProxy, startRedisProxy } from "./redis-proxy.ts"
import { type Versions, watchVersions } from "./versions.ts"

export const PROJECT = "123456"
export const QUEUE = "unseal"
/** As reliability.md has them. */
export const LOCK_MS = 3_000
export const STALL_CHECK_MS = 1_000
export const PART_SIZE = 5 * 1024 * 1024
export const PARTS_IN_FLIGHT = 4

const SIGNATURE_SECRET = "chaos-signature-secret-0123456789"

export interface WorldOptions {
  readonly seed: number
  /** 4. */
  readonly workers?: number
  /** 1. */
  readonly ingests?: number
  readonly redis?: RedisOptions
  /** Whether processes reach Redis through the proxy. */
  readonly proxied?: boolean
  readonly workerEnv?: Readonly<Record<string, string>>
  readonly ingestEnv?: Readonly<Record<string, string>>
  readonly protectionsOff?: readonly Protection[]
}

/** An archive that the system was, or will be, told of. */
export interface Tracked {
  readonly archiveId: string
  readonly encryptedPassword: string
  /** Bytes. */
  readonly size: number
  readonly sourceKey: string
  readonly destinationKey: string
  readonly expected: Expected
}

/** What came of one callback. */
export interface Answered {
  readonly archive: Tracked
  readonly accepted: boolean
  readonly jobId: string | undefined
  readonly outcome: string | undefined
  /** Until the first answer, and of all attempts together. */
  readonly ms: number
}

export interface Member extends AppProcess {
  readonly name: string
  /** Until it has ended. */
  readonly alive: boolean
}

export interface World {
  readonly seed: number
  readonly random: Random
  readonly history: History
  readonly studio: Studio
  readonly redis: RedisServer
  readonly proxy: RedisProxy
  /** Straight to Redis, whatever the proxy does. */
  readonly client: Redis
  readonly s3: S3Server
  readonly source: OpenedStore
  readonly destination: OpenedStore
  readonly versions: Versions
  readonly keysDirectory: string
  /** What reaches the queue and the stores: a worker's settings. */
  readonly workerEnv: Readonly<Record<string, string>>
  /** Those that ever were. */
  readonly members: readonly Member[]
  /** The workers that live. */
  readonly workers: readonly Member[]
  readonly ingests: readonly Member[]
  readonly answers: readonly Answered[]
  /** What the logs must not hold. */
  readonly secrets: ReadonlySet<string>
  startWorker(env?: Readonly<Record<string, string>>): Promise<Member>
  /** On a free port, or on that of one that has ended. */
  startIngest(port?: number): Promise<Member>
  /** A description of `recorded`, whose object is not stored yet. */
  track(recorded: Omit<Recorded, "ciphertext">, expected?: Expected): Tracked
  /** Stores the object of an archive, over one that is there. */
  upload(key: string, ciphertext: Uint8Array): Promise<void>
  /** Records, stores and tracks an archive of about `size` bytes, in whole mebibytes. */
  record(size: number): Promise<Tracked>
  /** The same for an archive that memory need not hold: made as it is stored. */
  recordLarge(size: number): Promise<Tracked>
  /** Sends its callback until it is answered for good. */
  call(archive: Tracked, ingest?: Member): Promise<Answered>
  /** Kills, and waits until it is gone. */
  kill(member: Member, signal?: NodeJS.Signals): Promise<void>
  /** Resolves when every accepted job is done for good; rejects after `ms`. */
  settled(ms: number): Promise<void>
  fault(what: string, process?: string): void
  close(): Promise<void>
}

let studio: Promise<Studio> | undefined

/** What must not outlive this process, however it ends. */
const running = new Set<AppProcess>()
process.once("exit", () => {
  for (const member of running) member.kill("SIGKILL")
})

/** Compiled modules of the processes: half of the time that a worker takes to start. Written by those that end in order. */
let compileCache: string | undefined

function compileCacheDirectory(): string {
  if (compileCache === undefined) {
    const directory = mkdtempSync(join(tmpdir(), "unseal-compiled-"))
    compileCache = directory
    process.once("exit", () => rmSync(directory, { recursive: true, force: true }))
  }
  return compileCache
}

export async function startWorld(options: WorldOptions): Promise<World> {
  studio ??= openStudio()
  const opened = await studio
  const directory = await mkdtemp(join(tmpdir(), "unseal-chaos-"))
  const closing: (() => Promise<unknown>)[] = [() => rm(directory, { recursive: true, force: true })]
  try {
    const world = await assemble(options, opened, directory, closing)
    await Promise.all(Array.from({ length: options.ingests ?? 1 }, () => world.startIngest()))
    await Promise.all(Array.from({ length: options.workers ?? 4 }, () => world.startWorker()))
    return world
  } catch (error) {
    await closeAll(closing)
    throw error
  }
}

async function closeAll(closing: (() => Promise<unknown>)[]): Promise<void> {
  for (let undo = closing.pop(); undo !== undefined; undo = closing.pop()) await undo()
}

async function assemble(
  options: WorldOptions,
  studio: Studio,
  directory: string,
  closing: (() => Promise<unknown>)[],
): Promise<World> {
  const { seed } = options
  const history = createHistory()
  const random = createRandom(seed)

  const redis = await startRedis(options.redis)
  closing.push(() => redis.close())
  const proxy = await startRedisProxy(redis.port)
  closing.push(() => proxy.close())
  const client = new Redis(redis.url, { maxRetriesPerRequest: null })
  // Redis goes away on purpose here.
  client.on("error", () => {})
  closing.push(async () => client.disconnect())

  const keysDirectory = join(directory, "keys")
  await mkdir(keysDirectory)
  await writeFile(join(keysDirectory, "key.pem"), studio.privateKeyPem)

  const s3 = await startS3Server({
    credentials: [
      {
        accessKeyId: S3_CREDENTIAL.AWS_ACCESS_KEY_ID,
        secretAccessKey: S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY,
      },
    ],
    buckets: [SOURCE_NAME, DESTINATION_NAME],
    directory,
    etags: "random",
    seed,
    logSize: 100_000,
    log: (operation) => history.add({ kind: "store", operation }),
  })
  closing.push(() => s3.close())
  const stores = s3Stores(s3.port)
  // The SDK's own chain reads the environment of this process, where the credential is not: it is for this run alone.
  Object.assign(process.env, stores.env)
  const source = await openStore(stores.source, { env: stores.env, partSizeBytes: PART_SIZE })
  const destination = await openStore(stores.destination, { env: stores.env, partSizeBytes: PART_SIZE })
  closing.push(async () => {
    await source.close()
    await destination.close()
  })
  const versions = watchVersions(s3, DESTINATION_NAME, destination, (key, { sha256, size }) =>
    history.add({ kind: "version", key, sha256, size }),
  )
  closing.push(async () => versions.stop())

  const off = options.protectionsOff ?? []
  const common = {
    REDIS_URL: options.proxied ? proxy.url : redis.url,
    UNSEAL_QUEUE: QUEUE,
    UNSEAL_HOST: "127.0.0.1",
    UNSEAL_ADMIN_PORT: "0",
    NODE_COMPILE_CACHE: compileCacheDirectory(),
    UNSEAL_TEST: "1",
    ...(off.length > 0 && { UNSEAL_TEST_PROTECTIONS_OFF: off.join(",") }),
    UNSEAL_PROJECT_ID: PROJECT,
  }
  const workerEnv = {
    ...common,
    ...stores.env,
    UNSEAL_SOURCE: stores.source,
    UNSEAL_DESTINATION: stores.destination,
    UNSEAL_DESTINATION_KEY: "plain/{projectId}/{archiveId}/archive.ts",
    UNSEAL_KEYS_DIR: keysDirectory,
    UNSEAL_CONCURRENCY: "4",
    UNSEAL_PARTS_IN_FLIGHT: String(PARTS_IN_FLIGHT),
    UNSEAL_PART_SIZE_BYTES: String(PART_SIZE),
    UNSEAL_LOCK_MS: String(LOCK_MS),
    UNSEAL_STALL_CHECK_MS: String(STALL_CHECK_MS),
  }
  const members: Member[] = []
  const answers: Answered[] = []
  const secrets = new Set([SIGNATURE_SECRET, S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY])
  for (const line of studio.privateKeyPem.toString().split("\n")) if (line.length === 64) secrets.add(line)

  async function start(app: "ingest" | "worker", env: Readonly<Record<string, string>>): Promise<Member> {
    const name = `${app} ${members.filter((member) => member.name.startsWith(app)).length + 1}`
    // Its place in the list, and so its name, is taken before it is there.
    const placeholder = { name, alive: false } as Member
    const index = members.push(placeholder) - 1
    const started = await startApp(app, {
      env: { ...common, ...env },
      onLine: ({ msg, step, jobId }) => {
        if (msg === "step") history.add({ kind: "step", process: name, step: `${step}`, jobId: `${jobId}` })
      },
    })
    let alive = true
    running.add(started)
    void started.exited.then((code) => {
      running.delete(started)
      alive = false
      history.add({ kind: "process", process: name, what: `ended with ${code ?? "a signal"}` })
    })
    const member: Member = {
      ...started,
      name,
      get alive() {
        return alive
      },
    }
    members[index] = member
    history.add({ kind: "process", process: name, what: `listens, pid ${member.pid}` })
    closing.push(async () => {
      if (!alive) return
      // One that a test has left stopped could not end.
      member.kill("SIGCONT")
      await member.stop()
    })
    return member
  }

  const senders = new Map<Member, ReturnType<typeof createCallbackSender>>()
  function senderTo(ingest: Member) {
    const sender =
      senders.get(ingest) ??
      createCallbackSender({
        url: `http://127.0.0.1:${ingest.ports.http}/callbacks/${PROJECT}`,
        signatureSecret: SIGNATURE_SECRET,
        timeScale: 0.05,
      })
    senders.set(ingest, sender)
    return sender
  }

  const world: World = {
    seed,
    random,
    history,
    studio,
    redis,
    proxy,
    client,
    s3,
    source,
    destination,
    versions,
    keysDirectory,
    workerEnv,
    members,
    get workers() {
      return members.filter((member) => member.alive && member.name.startsWith("worker"))
    },
    get ingests() {
      return members.filter((member) => member.alive && member.name.startsWith("ingest"))
    },
    answers,
    secrets,
    startWorker: (env = {}) => start("worker", { ...workerEnv, ...options.workerEnv, ...env }),
    startIngest: (port = 0) =>
      start("ingest", {
        UNSEAL_PORT: String(port),
        UNSEAL_SIGNATURE_SECRET: SIGNATURE_SECRET,
        ...options.ingestEnv,
      }),
    track(recorded, expected) {
      const { archiveId, encryptedPassword, size, plaintext } = recorded
      secrets.add(encryptedPassword)
      return {
        archiveId,
        encryptedPassword,
        size,
        sourceKey: `${PROJECT}/${archiveId}/archive.ts`,
        destinationKey: `plain/${PROJECT}/${archiveId}/archive.ts`,
        expected: expected ?? { output: new Set([plaintext]) },
      }
    },
    async upload(key, ciphertext) {
      await writeWhole(source, key, ciphertext, "video/mp2t", AbortSignal.timeout(300_000))
    },
    async record(size) {
      const recorded = studio.recordLike(size)
      const archive = world.track(recorded)
      await world.upload(archive.sourceKey, recorded.ciphertext)
      return archive
    },
    async recordLarge(size) {
      const recording = studio.recordLarge(size)
      const archiveId = randomUUID()
      const sourceKey = `${PROJECT}/${archiveId}/archive.ts`
      await uploadArchive(
        source,
        sourceKey,
        recording.size,
        recording.ciphertext,
        AbortSignal.timeout(3_600_000),
      )
      const { encryptedPassword } = recording
      const { plaintext } = recording.digests()
      return world.track({ archiveId, encryptedPassword, size: recording.size, plaintext })
    },
    async call(archive, ingest = random.pick(world.ingests)) {
      const { archiveId, encryptedPassword, size } = archive
      const body = callbackBody(
        {
          id: archiveId,
          projectId: PROJECT,
          sessionId: "chaos",
          name: "chaos",
          createdAt: Date.now(),
          reason: "",
          url: null,
          recording: { size, encryptedPassword },
          sha256: null,
        },
        "uploaded",
      )
      const startedAt = performance.now()
      const sending = senderTo(ingest).send(body, AbortSignal.timeout(300_000))
      await sending.firstAttempt
      const ms = performance.now() - startedAt
      const { outcome, attempts, answer } = await sending.delivery
      const parsed =
        outcome === "accepted" ? (JSON.parse(answer) as { jobId?: string; outcome?: string }) : {}
      history.add({ kind: "callback", archiveId, ingest: ingest.name, outcome, attempts, ms })
      const answered = {
        archive,
        accepted: outcome === "accepted",
        jobId: parsed.jobId,
        outcome: parsed.outcome,
        ms,
      }
      answers.push(answered)
      return answered
    },
    async kill(member, signal = "SIGKILL") {
      world.fault(signal, member.name)
      member.kill(signal)
      await member.exited
    },
    settled: (ms) => untilSettled(world, ms),
    fault: (what, process) => history.add({ kind: "fault", what, ...(process && { process }) }),
    close: () => closeAll(closing),
  }
  return world
}

/** The jobs that callbacks were accepted for, by id. */
export function acceptedJobs(world: Pick<World, "answers">): ReadonlyMap<string, readonly Answered[]> {
  const jobs = new Map<string, Answered[]>()
  for (const answer of world.answers)
    if (answer.jobId !== undefined) jobs.set(answer.jobId, [...(jobs.get(answer.jobId) ?? []), answer])
  return jobs
}

/** Whether each of `jobIds` has ended for good, in one look. */
export async function endedJobs(world: World, jobIds: readonly string[]): Promise<boolean[]> {
  if (jobIds.length === 0) return []
  const looks = world.client.pipeline()
  for (const jobId of jobIds)
    looks.zscore(`{${QUEUE}}:${QUEUE}:completed`, jobId).zscore(`{${QUEUE}}:${QUEUE}:failed`, jobId)
  const scores = (await looks.exec()) ?? []
  return jobIds.map((_, index) => [0, 1].some((which) => scores[2 * index + which]?.[1] != null))
}

async function untilSettled(world: World, ms: number): Promise<void> {
  const deadline = Date.now() + ms
  for (;;) {
    const open = [...acceptedJobs(world).keys()]
    const ended = await endedJobs(world, open)
    const left = open.filter((_, index) => !ended[index])
    if (left.length === 0) return
    if (Date.now() > deadline)
      throw new Error(
        `${left.length} of ${open.length} jobs have not ended within ${ms} ms, e.g. ${left.slice(0, 3).join(", ")}`,
      )
    await sleep(200)
  }
}
