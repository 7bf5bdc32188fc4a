/** The whole system on one machine: Redis, the simulated cloud with its store, one ingest, any number of workers. */
import { randomBytes } from "node:crypto"
import { mkdir, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { ArchiveStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { createCertificate } from "@unseal/simulator/recording/openssl"
import { poisoned } from "./poisoned.ts"
import { type AppName, type AppProcess, type LogLine, startApp } from "./process.ts"
import { type RedisForm, type RedisFormName, startRedisForm } from "./redis/form.ts"
import { credentialOf, withProfile, writePolicies, writeProfiles } from "./stores/policies.ts"
import {
  azureStores,
  fileStores,
  S3_CREDENTIAL,
  type StoreKind,
  type SystemStores,
  s3Stores,
  VENDOR_CREDENTIAL,
} from "./stores.ts"

export interface SystemOptions {
  readonly store: StoreKind
  readonly workers: number
  /** Default `plain`. */
  readonly redis?: RedisFormName
  /** Limits the S3 server's users to what docs/permissions.md prints. */
  readonly policies?: boolean
  /** Extra parameters of the stores' URLs. */
  readonly storeParameters?: Readonly<Record<"source" | "destination", Readonly<Record<string, string>>>>
  /** Extra settings of ingest. */
  readonly ingestEnv?: Readonly<Record<string, string>>
  /** Extra settings of the workers. */
  readonly workerEnv?: Readonly<Record<string, string>>
  /** Extra settings of the simulator. */
  readonly simulatorEnv?: Readonly<Record<string, string>>
  /** Called with every log line of every process. */
  readonly onLine?: (process: string, line: LogLine) => void
  /** Called when each piece is ready, for people who wait. */
  readonly onReady?: (name: string, detail: string) => void
}

/** One archive in the simulator's `GET /archives`. */
export interface ArchiveSummary {
  readonly id: string
  readonly key: string
  readonly status: string
  /** Bytes; `null` until it is uploaded. */
  readonly size: number | null
  readonly callbacks: readonly { readonly status: string; readonly outcome: string }[]
}

/** The simulator's `GET /archives/{id}` for an uploaded archive. */
export interface RecordedArchive {
  readonly id: string
  readonly key: string
  readonly tail: string
  readonly recording: { readonly size: number; readonly encryptedPassword: string }
  readonly sha256: { readonly plaintext: string; readonly ciphertext: string }
}

/** A request to the simulator to record archives; see its control API. */
export interface RecordWish {
  readonly size: number
  readonly exact?: boolean
  readonly tail?: "pkcs7" | "zero" | "none"
  readonly count?: number
  readonly duplicates?: number
  readonly statuses?: readonly string[]
}

export interface SystemWorker extends AppProcess {
  readonly name: string
}

export interface System {
  readonly projectId: string
  /** In a temporary directory that `close` removes. */
  readonly keyFile: string
  readonly redis: RedisForm
  readonly ingest: AppProcess
  readonly simulator: AppProcess
  /** All workers started so far, including ended ones, under the names that `onReady` and `onLine` get. */
  readonly workers: readonly SystemWorker[]
  readonly source: ArchiveStore
  readonly destination: ArchiveStore
  readonly stores: SystemStores
  /** The vendor's own credential as environment variables for commands. */
  readonly vendorEnv: Readonly<Record<string, string>>
  /** Settings with which the CLI reaches this system's queue. */
  readonly env: Readonly<Record<string, string>>
  /** `within` is a command prefix that executes the rest, as `env` does. */
  startWorker(within?: readonly string[]): Promise<SystemWorker>
  record(wish: RecordWish): Promise<void>
  /** Newest first. */
  archives(): Promise<readonly ArchiveSummary[]>
  archive(id: string): Promise<RecordedArchive>
  /** Stops every process, the newest first, and removes their files. */
  close(): Promise<void>
}

export const PROJECT_ID = "123456"

/** The simulator answers at once, even where everything is slow. */
const ANSWER_MS = 60_000

export async function startSystem(options: SystemOptions): Promise<System> {
  const directory = await mkdtemp(join(tmpdir(), "unseal-system-"))
  const closing: (() => Promise<unknown>)[] = [() => rm(directory, { recursive: true, force: true })]
  const close = async () => {
    for (let undo = closing.pop(); undo !== undefined; undo = closing.pop()) await undo()
  }
  const ready = options.onReady ?? (() => {})

  async function start(
    name: string,
    app: AppName,
    env: Record<string, string>,
    within: readonly string[] = [],
  ): Promise<AppProcess> {
    const process = await startApp(app, { env, within, onLine: (line) => options.onLine?.(name, line) })
    closing.push(() => process.stop())
    const ports = Object.entries(process.ports).map(([port, number]) => `${port} ${number}`)
    ready(name, `pid ${process.pid}${ports.length > 0 ? `, ports: ${ports.join(", ")}` : ""}`)
    return process
  }

  try {
    const redis = await startRedisForm(options.redis ?? "plain")
    closing.push(() => redis.close())
    ready(
      "redis",
      redis.url.replace(/\/\/.*@|[?&]sentinelPassword=[^&]*/g, (secret) =>
        secret.startsWith("//") ? "//" : "",
      ),
    )

    const keysDirectory = join(directory, "keys")
    await mkdir(keysDirectory)
    const keyFile = join(keysDirectory, "key.pem")
    const certificateFile = join(directory, "cert.pem")
    await createCertificate({ certificateFile, keyFile })
    ready("certificate", "2048 bits, made by the openssl command")

    const secret = randomBytes(32).toString("base64url")
    const common = { ...redis.env, UNSEAL_HOST: "127.0.0.1", UNSEAL_ADMIN_PORT: "0" }
    const ingest = await start("ingest", "ingest", {
      ...common,
      UNSEAL_PORT: "0",
      UNSEAL_PROJECT_ID: PROJECT_ID,
      UNSEAL_SIGNATURE_SECRET: secret,
      ...options.ingestEnv,
    })
    const given = await openGivenStores(options.store, directory)
    if (given) closing.push(() => given.close())
    const vendorEnv = options.policies ? credentialOf("upload") : VENDOR_CREDENTIAL
    const simulator = await start("simulator", "simulator", {
      SIMULATOR_PORT: "0",
      SIMULATOR_PROJECT_ID: PROJECT_ID,
      SIMULATOR_CERTIFICATE_FILE: certificateFile,
      SIMULATOR_CALLBACK_URL: `http://127.0.0.1:${ingest.ports.http}/callbacks/${PROJECT_ID}`,
      SIMULATOR_SIGNATURE_SECRET: secret,
      SIMULATOR_TIME_SCALE: "0.05",
      ...(given
        ? { SIMULATOR_STORE: given.source, ...given.env }
        : {
            SIMULATOR_S3_PORT: "0",
            ...(options.policies ? vendorEnv : S3_CREDENTIAL),
            SIMULATOR_S3_UPLOAD_ACCESS_KEY: vendorEnv.AWS_ACCESS_KEY_ID,
            SIMULATOR_S3_UPLOAD_SECRET_KEY: vendorEnv.AWS_SECRET_ACCESS_KEY,
          }),
      ...(options.policies && { SIMULATOR_S3_POLICIES_FILE: await writePolicies(directory) }),
      ...options.simulatorEnv,
    })
    const unlimited = withParameters(given ?? s3Stores(simulator.ports.s3!), options.storeParameters)
    const stores = options.policies ? await policed(unlimited, directory) : unlimited
    ready("store", stores.source.replace(/\?.*/, ""))

    const workers: SystemWorker[] = []
    let started = 0
    async function startWorker(within: readonly string[] = []): Promise<SystemWorker> {
      const name = `worker ${++started}`
      const app = await start(
        name,
        "worker",
        {
          ...common,
          ...stores.env,
          UNSEAL_PROJECT_ID: PROJECT_ID,
          UNSEAL_SOURCE: stores.source,
          UNSEAL_DESTINATION: stores.destination,
          UNSEAL_KEYS: keysDirectory,
          ...options.workerEnv,
        },
        within,
      )
      const worker = { ...app, name }
      workers.push(worker)
      return worker
    }
    await Promise.all(Array.from({ length: options.workers }, () => startWorker()))

    const open = async (url: string) => {
      // The SDK's own chain reads this process's environment, which lacks the credential: it exists for this run alone.
      Object.assign(process.env, stores.env)
      const store = poisoned(await openStore(url, { env: stores.env }))
      closing.push(() => store.close())
      return store
    }
    const control = `http://127.0.0.1:${simulator.ports.control}/archives`
    // Each on a connection of its own: the server may close an idle one just as a request goes out on it.
    const ask = (url: string, { headers, ...init }: RequestInit = {}) =>
      fetch(url, {
        ...init,
        headers: { ...headers, connection: "close" },
        signal: AbortSignal.timeout(ANSWER_MS),
      })
    return {
      projectId: PROJECT_ID,
      keyFile,
      redis,
      ingest,
      simulator,
      workers,
      source: await open(stores.source),
      destination: await open(stores.destination),
      stores,
      vendorEnv,
      env: { ...redis.env, ...stores.env },
      startWorker,
      async record(wish) {
        const response = await ask(control, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(wish),
        })
        if (response.status !== 202)
          throw new Error(`the simulator answered ${response.status}: ${await response.text()}`)
      },
      archives: async () => (await (await ask(control)).json()) as ArchiveSummary[],
      archive: async (id) => (await (await ask(`${control}/${id}`)).json()) as RecordedArchive,
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

function withParameters(stores: SystemStores, parameters: SystemOptions["storeParameters"]): SystemStores {
  if (parameters === undefined) return stores
  const extended = (side: "source" | "destination"): string => {
    const url = new URL(stores[side])
    for (const [name, value] of Object.entries(parameters[side])) url.searchParams.set(name, value)
    return url.href
  }
  return { ...stores, source: extended("source"), destination: extended("destination") }
}

/** The same stores, each for a user who is limited to the printed policy. */
const policed = async (stores: SystemStores, directory: string): Promise<SystemStores> => ({
  ...stores,
  source: withProfile("source", stores.source),
  destination: withProfile("destination", stores.destination),
  env: await writeProfiles(directory),
})

async function openGivenStores(kind: StoreKind, directory: string): Promise<SystemStores | null> {
  if (kind === "azure") return azureStores()
  return kind === "file" ? fileStores(directory) : null
}
