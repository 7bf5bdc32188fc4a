/** Unseal's own contenders: the command line, and workers that take archives from a queue. */
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import { createProducer } from "@unseal/queue/enqueue/producer"
import { createJobPayload } from "@unseal/queue/jobs/job"
import { Redis } from "ioredis"
import { type AppProcess, startApp } from "../harness/process.ts"
import type { Bench } from "./bench-context.ts"
import type { Contender } from "./contest.ts"
import type { Origin } from "./endpoint.ts"
import { type Cost, cpuSecondsOf, measureCommands, peakRssOf } from "./measure.ts"
import { CREDENTIAL, sourceBucket, type Workload } from "./peers.ts"

export const PROJECT_ID = "123456"

const root = join(import.meta.dirname, "../..")
const TIMEOUT_SECONDS = 600

export const storeUrl = (bucket: string, { url }: Origin, key = ""): string =>
  `s3://${bucket}${key}?${new URLSearchParams({ endpoint: url, region: "us-east-1", pathStyle: "true" })}`

const environment = (bench: Bench, origin: Origin): Record<string, string> => ({
  ...CREDENTIAL,
  ...(origin.certificateFile ? { NODE_EXTRA_CA_CERTS: origin.certificateFile } : {}),
  ...bench.options.env,
})

const describe = (settings: Readonly<Record<string, string>>): string =>
  Object.entries(settings)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ") || "defaults"

/** `unseal decrypt`: one process for each archive, its start included. */
export function commandLine(bench: Bench, { origin, archiveBytes }: Workload): Contender {
  const from = storeUrl(sourceBucket(archiveBytes), origin, "/cli/archive.ts")
  return {
    name: "**unseal decrypt**",
    settings: `Node ${process.versions.node}, ${describe(bench.options.env)}, start included`,
    run: () => runCommandLine(bench, [from, storeUrl("decrypted", origin, "/cli/archive.ts")], origin),
  }
}

/** Runs `unseal decrypt`, of this checkout unless `entry` is another; `locations` are SOURCE and DESTINATION. */
export function runCommandLine(
  bench: Bench,
  locations: readonly string[],
  origin: Origin,
  {
    entry = join(root, "apps/cli/bin/unseal.mjs"),
    env = {},
  }: { entry?: string; env?: Readonly<Record<string, string>> } = {},
): Promise<Cost> {
  const { keyFile, encryptedPassword } = bench.recording
  const unseal = [process.execPath, entry, "decrypt", ...locations, "--overwrite"]
  return measureCommands(bench.native, [[[...unseal, "--password", encryptedPassword(), "--key", keyFile]]], {
    env: { ...environment(bench, origin), ...env },
    timeoutSeconds: TIMEOUT_SECONDS,
  })
}

export interface WorkersOptions extends Workload {
  readonly processes?: number
  /** Settings. Those of the command line (`--env`) override them. */
  readonly env?: Readonly<Record<string, string>>
  /** The projects in the file, and those that get archives, in turn. If absent, there is a single project. */
  readonly projects?: { readonly file: string; readonly active: readonly string[] }
  /** Called with each line of the processes' logs. */
  onLine?(line: Readonly<Record<string, unknown>>): void
}

/** One or more worker processes on a queue of their own. */
export interface Workers {
  readonly settings: string
  readonly processes: readonly AppProcess[]
  readonly queue: string
  /** Resolves when `count` more archives are committed. Rejects at the first failure, even of a first attempt. */
  committed(count: number): Promise<void>
  /** Enqueues `count` archives and waits until they are committed. Measures from the first job to the last commit. */
  decrypt(count: number): Promise<Cost>
  cpuSeconds(): number
  /** The largest peak of any process. */
  peakRssBytes(): number
  close(): Promise<void>
}

let queues = 0

export async function startWorkers(bench: Bench, options: WorkersOptions): Promise<Workers> {
  const { origin, archiveBytes, processes: count = 1 } = options
  const settings = { ...options.env, ...bench.options.env }
  const redis = await bench.redis()
  const queue = `bench-${++queues}`
  const tally = createTally()
  const processes = await Promise.all(
    Array.from({ length: count }, () =>
      startApp("worker", {
        env: {
          REDIS_URL: redis.url,
          UNSEAL_QUEUE: queue,
          UNSEAL_HOST: "127.0.0.1",
          UNSEAL_ADMIN_PORT: "0",
          ...(options.projects
            ? { UNSEAL_PROJECTS_FILE: options.projects.file }
            : {
                UNSEAL_PROJECT_ID: PROJECT_ID,
                UNSEAL_SOURCE: storeUrl(sourceBucket(archiveBytes), origin),
                UNSEAL_DESTINATION: storeUrl("decrypted", origin),
                UNSEAL_KEYS: bench.recording.keysDirectory,
              }),
          ...options.env,
          ...environment(bench, origin),
        },
        onLine(line) {
          tally.note(line)
          options.onLine?.(line)
        },
      }),
    ),
  )
  const endWithUs = () => {
    for (const process of processes) process.kill("SIGKILL")
  }
  process.on("exit", endWithUs)
  const connection = new Redis(redis.url)
  const producer = createProducer({ connection, queue })
  const cpuSeconds = () => processes.reduce((sum, { pid }) => sum + cpuSecondsOf(pid), 0)
  const peakRssBytes = () => Math.max(...processes.map(({ pid }) => peakRssOf(pid)))

  return {
    settings: `Node ${process.versions.node}, ${describe(settings)}`,
    ...{ processes, queue, cpuSeconds, peakRssBytes },
    committed: (count) => tally.committed(count),
    async decrypt(count) {
      const before = cpuSeconds()
      const startedAt = performance.now()
      const done = tally.committed(count)
      await Promise.race([done, enqueue(count)])
      await done
      const seconds = (performance.now() - startedAt) / 1_000
      return { seconds, cpuSeconds: cpuSeconds() - before, peakRssBytes: peakRssBytes() }
    },
    async close() {
      await Promise.all(processes.map((process) => process.stop()))
      process.off("exit", endWithUs)
      await producer.close()
      connection.disconnect()
    },
  }

  async function enqueue(count: number): Promise<void> {
    const active = options.projects?.active ?? [PROJECT_ID]
    for (let index = 0; index < count; index++)
      await producer.enqueue(
        createJobPayload({
          projectId: active[index % active.length]!,
          archiveId: randomUUID(),
          encryptedPassword: bench.recording.encryptedPassword(),
          status: "uploaded",
          receivedAt: new Date().toISOString(),
          nonce: randomUUID(),
        }),
      )
  }
}

/** Counts what the workers log. A retry is not a failure in itself, but nothing in the bench gives a reason for one. */
function createTally() {
  let waiting:
    | { left: number; resolve(): void; reject(error: Error): void; timer: NodeJS.Timeout }
    | undefined
  const end = (error?: Error) => {
    clearTimeout(waiting?.timer)
    if (error) waiting?.reject(error)
    else waiting?.resolve()
    waiting = undefined
  }
  return {
    note(line: Readonly<Record<string, unknown>>): void {
      if (!waiting) return
      if (line.msg === "archive committed" && --waiting.left === 0) end()
      if (line.code !== undefined) end(new Error(`worker: ${line.msg}: ${line.code} ${line.reason ?? ""}`))
    },
    committed: (count: number) =>
      new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => end(new Error("the workers took too long")), TIMEOUT_SECONDS * 1_000)
        waiting = { left: count, resolve, reject, timer }
      }),
  }
}

/** Workers as a contender that decrypts `archives` at once. They stay up for all rounds; `close` ends them. */
export async function workerContender(
  bench: Bench,
  name: string,
  options: WorkersOptions & { archives?: number },
): Promise<{ contender: Contender; workers: Workers }> {
  const workers = await startWorkers(bench, options)
  const { archives = 1 } = options
  const contender = { name, settings: workers.settings, archives, run: () => workers.decrypt(archives) }
  return { contender, workers }
}
