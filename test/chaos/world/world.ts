/**
 * The system under test: real processes, a Redis that may be killed, and a network to Redis that can fail. The simulator's S3
 * server runs in this process, so that its fault plan and its log are at hand.
 */
import { readdirSync } from "node:fs"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import type { RedisClient } from "@unseal/service/redis/redis"
import { type S3Server, startS3Server } from "@unseal/simulator/s3/http/server"
import { poisoned } from "@unseal/test/harness/poisoned"
import type { RedisForm } from "@unseal/test/harness/redis/form"
import type { RedisServer } from "@unseal/test/harness/redis/redis"
import {
  DESTINATION_NAME,
  S3_CREDENTIAL,
  SOURCE_NAME,
  type SystemStores,
  s3Stores,
} from "@unseal/test/harness/stores"
import type { Protection } from "../../rig/settings.ts"
import { createHistory, type History } from "../history.ts"
import { createRandom, type Random } from "../random.ts"
import type { RedisProxy } from "../redis-proxy.ts"
import {
  type Env,
  PART_SIZE,
  PROJECT,
  type ProjectSetup,
  projectsFile,
  SECOND_CREDENTIAL,
  SECOND_PROJECT,
  SIGNATURE_SECRET,
  settingsOf,
  singleProject,
  workerSettings,
} from "../settings.ts"
import { type Versions, watchVersions } from "../versions.ts"
import { type Archives, createArchives, type Tracked } from "./archives.ts"
import { type Answered, createCaller } from "./callbacks.ts"
import { untilSettled } from "./jobs.ts"
import { createMembers, type Member } from "./members.ts"
import { lastingPort } from "./ports.ts"
import { openStudio, type Studio } from "./recordings.ts"
import { openRedis, type RedisChoice } from "./redis.ts"

export interface WorldOptions {
  readonly seed: number
  /** Default 4. */
  readonly workers?: number
  /** Default 1. */
  readonly ingests?: number
  readonly redis?: RedisChoice
  /** Whether processes reach Redis through the proxy. */
  readonly proxied?: boolean
  readonly workerEnv?: Env
  readonly ingestEnv?: Env
  readonly protectionsOff?: readonly Protection[]
  /** Adds the second project. Unnamed settings equal the first's, except the key directory, which is its own. */
  readonly second?: (places: {
    /** Where it may keep files. */
    readonly directory: string
    readonly s3: S3Server
    readonly stores: SystemStores
    readonly closing: Closing
  }) => Promise<SecondProject>
}

/** The source and the destination of the second project. */
export interface SecondProject {
  readonly source?: string
  readonly destination?: string
  /** The extra environment that workers need to reach them. */
  readonly env?: Env
  /** A command prefix for workers to reach them (`StartOptions.within`). */
  readonly within?: readonly string[]
}

export interface World extends Archives {
  readonly seed: number
  readonly random: Random
  readonly history: History
  readonly studio: Studio
  /** The only server, or the first of several, whatever its current role. */
  readonly redis: RedisServer
  /** The whole set, if there are several. */
  readonly redisForm?: RedisForm
  readonly proxy: RedisProxy
  /** A direct connection to Redis that bypasses the proxy. */
  readonly client: RedisClient
  /** A client that neither retries nor queues, so that its reads are of one moment. */
  readonly hasty: RedisClient
  readonly s3: S3Server
  readonly source: OpenedStore
  readonly destination: OpenedStore
  /** The second project's destination if it has its own, opened as a person would. */
  readonly secondDestination?: OpenedStore
  /** How many of its archives are there, if it is a directory. */
  secondCommitted(): number
  readonly versions: Versions
  readonly keysDirectory: string
  /** The second project's. */
  readonly secondKeysDirectory: string
  /** A worker's settings for the queue and the stores. */
  readonly workerEnv: Env
  /** All members, including those that have ended. */
  readonly members: readonly Member[]
  /** The live workers. */
  readonly workers: readonly Member[]
  readonly ingests: readonly Member[]
  readonly answers: readonly Answered[]
  /** What the logs must not contain. */
  readonly secrets: Set<string>
  startWorker(env?: Env): Promise<Member>
  /** Uses a free port, or the port of one that has ended. */
  startIngest(port?: number): Promise<Member>
  /** Sends its callback until the answer is final. */
  call(archive: Tracked, ingest?: Member): Promise<Answered>
  /** Kills it, and waits until it is gone. */
  kill(member: Member, signal?: NodeJS.Signals): Promise<void>
  /** Resolves when every accepted job is done for good; rejects after `ms`. */
  settled(ms: number): Promise<void>
  fault(what: string, process?: string): void
  close(): Promise<void>
}

/** Clean-up at the end, in reverse order. */
export type Closing = (() => Promise<unknown>)[]

let studio: Promise<Studio> | undefined

export async function startWorld(options: WorldOptions): Promise<World> {
  studio ??= openStudio()
  const opened = await studio
  const directory = await mkdtemp(join(tmpdir(), "unseal-chaos-"))
  const closing: Closing = [() => rm(directory, { recursive: true, force: true })]
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

async function closeAll(closing: Closing): Promise<void> {
  for (let undo = closing.pop(); undo !== undefined; undo = closing.pop()) await undo()
}

async function assemble(
  options: WorldOptions,
  studio: Studio,
  directory: string,
  closing: Closing,
): Promise<World> {
  const history = createHistory()
  const random = createRandom(options.seed)
  const { redisUrl, ...redis } = await openRedis(options.redis, closing)
  const [keysDirectory, secondKeysDirectory] = [join(directory, "keys"), join(directory, "keys-2")]
  for (const keys of [keysDirectory, secondKeysDirectory]) {
    await mkdir(keys)
    await writeFile(join(keys, "key.pem"), studio.privateKeyPem)
  }
  const stores = await openStores(options, directory, history, closing)

  const first = { id: PROJECT, ...stores.locations, keysDirectory }
  const second = await options.second?.({ directory, s3: stores.s3, stores: stores.locations, closing })
  const secondSetup = second && {
    ...{ ...first, id: SECOND_PROJECT, keysDirectory: secondKeysDirectory },
    ...(second.source && { source: second.source }),
    ...(second.destination && { destination: second.destination }),
  }
  const projects = secondSetup
    ? { UNSEAL_PROJECTS_FILE: await writeProjects(directory, [first, secondSetup]) }
    : { UNSEAL_PROJECT_ID: PROJECT }
  const secondDestination = second?.destination?.startsWith("file:")
    ? poisoned(await openStore(second.destination, { env: {} }))
    : undefined
  if (secondDestination) closing.push(() => secondDestination.close())

  const common = settingsOf(
    options.proxied ? redis.proxy.url : redisUrl,
    options.protectionsOff ?? [],
    projects,
  )
  const workerEnv = {
    ...{ ...common, ...workerSettings(stores.locations), ...second?.env },
    ...(secondSetup ? {} : singleProject(first)),
  }
  const members = createMembers(history, common)
  closing.push(() => members.close())
  const living = (app: "ingest" | "worker") =>
    members.all.filter((member) => member.alive && member.name.startsWith(app))

  const answers: Answered[] = []
  const secrets = new Set([
    ...[SIGNATURE_SECRET, S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY, SECOND_CREDENTIAL.secretAccessKey],
  ])
  for (const line of studio.privateKeyPem.toString().split("\n")) if (line.length === 64) secrets.add(line)
  const call = createCaller(history, answers)

  const world: World = {
    ...createArchives(studio, stores.source, secrets),
    ...{ seed: options.seed, random, history, studio, ...redis },
    ...{ s3: stores.s3, source: stores.source, destination: stores.destination, versions: stores.versions },
    ...(secondDestination && { secondDestination }),
    secondCommitted: () => countFiles(second?.destination),
    ...{ keysDirectory, secondKeysDirectory, workerEnv, members: members.all, answers, secrets },
    get workers() {
      return living("worker")
    },
    get ingests() {
      return living("ingest")
    },
    startWorker: (env = {}) =>
      members.start("worker", { ...workerEnv, ...options.workerEnv, ...env }, second?.within),
    startIngest: async (port) =>
      members.start("ingest", {
        UNSEAL_PORT: String(port ?? (await lastingPort())),
        ...(second ? {} : { UNSEAL_SIGNATURE_SECRET: SIGNATURE_SECRET }),
        ...options.ingestEnv,
      }),
    call: async (archive, ingest = random.pick(living("ingest"))) => call(archive, ingest),
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

/** Counts the visible archives below a `file:` URL. */
function countFiles(url: string | undefined): number {
  if (!url?.startsWith("file:")) return 0
  return readdirSync(new URL(url), { recursive: true }).filter((name) => `${name}`.endsWith("/archive.ts"))
    .length
}

async function writeProjects(directory: string, projects: readonly ProjectSetup[]): Promise<string> {
  const [path, secret] = [join(directory, "projects.json"), join(directory, "signature-secret")]
  await writeFile(secret, SIGNATURE_SECRET)
  await writeFile(path, projectsFile(projects, secret))
  return path
}

async function openStores({ seed }: WorldOptions, directory: string, history: History, closing: Closing) {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = S3_CREDENTIAL
  const s3 = await startS3Server({
    credentials: [{ accessKeyId, secretAccessKey }, SECOND_CREDENTIAL],
    buckets: [SOURCE_NAME, DESTINATION_NAME],
    directory,
    etags: "random",
    seed,
    logSize: 100_000,
    log: (operation) => history.add({ kind: "store", operation }),
  })
  closing.push(() => s3.close())
  const locations = s3Stores(s3.port)
  // The SDK's own chain reads this process's environment, which lacks the credential: it exists for this run alone.
  Object.assign(process.env, locations.env)
  const open = async (url: string) =>
    poisoned(await openStore(url, { env: locations.env, partSizeBytes: PART_SIZE }))
  const source = await open(locations.source)
  const destination = await open(locations.destination)
  closing.push(async () => {
    await source.close()
    await destination.close()
  })
  const versions = watchVersions(s3, DESTINATION_NAME, destination, (key, { sha256, size }) =>
    history.add({ kind: "version", key, sha256, size }),
  )
  closing.push(async () => versions.stop())
  return { s3, locations, source, destination, versions }
}
