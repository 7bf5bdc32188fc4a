/** What an archive costs Redis and the stores: counted, so the machine's speed does not matter. */
import { randomUUID } from "node:crypto"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { pathToFileURL } from "node:url"
import { queueStatus } from "@unseal/queue/status"
import { PROJECT_ID } from "../harness/system.ts"
import { type Archive, startWorkerSystem, type WorkerSystem } from "../harness/worker-system.ts"

/** What S3 takes at least. */
const S3_PART_BYTES = 5 * 2 ** 20
const DIRECTORY_PART_BYTES = 752 * 100
const MANY_PARTS = 200
const TO_DIRECTORY = "100002"
const SMALL_BYTES = 188 * 100 * 4
/** A producer has a limit on what it has not heard of yet. */
const AT_ONCE = 200

export interface RedisCosts {
  /** Bytes of Redis' memory for each archive: while it waits, and for an hour after its commit. */
  readonly waitingBytes: number
  readonly keptBytes: number
  /** For each archive, from its enqueueing to its end: commands, inside scripts too; bytes of append-only file; CPU. */
  readonly commands: number
  readonly aofBytes: number
  readonly cpuMs: number
}

/** Requests of one archive: reads are GET and HEAD, writes PUT, POST and DELETE. */
export interface StoreCosts {
  readonly parts: number
  readonly reads: number
  readonly writes: number
}

export interface ArchiveCosts {
  readonly redis: RedisCosts
  /** For each part of an archive of many. */
  readonly part: Pick<RedisCosts, "commands" | "aofBytes">
  readonly stores: readonly StoreCosts[]
}

/**
 * Measures with `count` archives of one part, one archive for each number of parts in `parts`, and one of many parts into a
 * directory, which takes small ones.
 */
export async function measureArchiveCosts(count: number, parts: readonly number[]): Promise<ArchiveCosts> {
  const system = await startWorkerSystem()
  try {
    const redis = await measureRedis(system, count)
    const stores: StoreCosts[] = []
    for (const many of [1, ...parts]) {
      const size = many === 1 ? SMALL_BYTES : (many - 1) * S3_PART_BYTES + SMALL_BYTES
      stores.push({ parts: many, ...(await throughTheWorker(system, size)).requests })
    }
    const many = await throughTheWorker(system, MANY_PARTS * DIRECTORY_PART_BYTES, TO_DIRECTORY)
    return {
      redis,
      stores,
      part: {
        commands: (many.commands - redis.commands) / MANY_PARTS,
        aofBytes: (many.aofBytes - redis.aofBytes) / MANY_PARTS,
      },
    }
  } finally {
    await system.close()
  }
}

/** One worker, and a project for each kind of destination. */
async function startWorker(system: WorkerSystem): Promise<void> {
  const directory = join(system.directory, "decrypted")
  await mkdir(directory)
  const { UNSEAL_SOURCE: source, UNSEAL_DESTINATION: destination, UNSEAL_KEYS: keys } = system.env
  await system.startWorkerOf(
    [
      { id: PROJECT_ID, source, destination, keys },
      { id: TO_DIRECTORY, source, destination: pathToFileURL(directory).href, keys },
    ],
    { UNSEAL_PART_SIZE_BYTES: String(DIRECTORY_PART_BYTES) },
  )
}

async function measureRedis(system: WorkerSystem, count: number): Promise<RedisCosts> {
  const made = system.make(SMALL_BYTES)
  const archives = Array.from({ length: count }, () => {
    const archiveId = randomUUID()
    return { ...made, archiveId, key: made.key.replace(made.archiveId, archiveId) }
  })
  for (let at = 0; at < count; at += AT_ONCE)
    await Promise.all(archives.slice(at, at + AT_ONCE).map((archive) => system.upload(archive)))
  const before = await memoryOf(system)
  const began = await countersOf(system)
  for (let at = 0; at < count; at += AT_ONCE)
    await Promise.all(archives.slice(at, at + AT_ONCE).map((archive) => enqueue(system, archive)))
  const waiting = await memoryOf(system)
  await startWorker(system)
  await untilCommitted(system, count)
  const ended = await countersOf(system)
  const kept = await memoryOf(system)
  return {
    waitingBytes: (waiting - before) / count,
    keptBytes: (kept - before) / count,
    commands: (ended.commands - began.commands) / count,
    aofBytes: (ended.aofBytes - began.aofBytes) / count,
    cpuMs: (ended.cpuMs - began.cpuMs) / count,
  }
}

/** With the size, as ingest does. */
const enqueue = (system: WorkerSystem, archive: Archive, projectId = PROJECT_ID) =>
  system.enqueue(archive, { projectId, size: archive.ciphertext.length })

async function throughTheWorker(system: WorkerSystem, size: number, projectId = PROJECT_ID) {
  const made = system.make(size)
  const archive = { ...made, key: made.key.replace(PROJECT_ID, projectId) }
  await system.upload(archive)
  const done = await committedOf(system)
  system.s3.operations.clear()
  const began = await countersOf(system)
  await enqueue(system, archive, projectId)
  await untilCommitted(system, done + 1)
  const ended = await countersOf(system)
  const isRead = (name: string) => /^(Get|Head|List)/.test(name)
  const names = system.s3.operations.entries().map(({ operation }) => operation)
  return {
    requests: { reads: names.filter(isRead).length, writes: names.filter((name) => !isRead(name)).length },
    commands: ended.commands - began.commands,
    aofBytes: ended.aofBytes - began.aofBytes,
  }
}

const committedOf = async ({ client }: WorkerSystem) => (await queueStatus(client, "unseal")).jobs.completed

async function untilCommitted(system: WorkerSystem, count: number): Promise<void> {
  const deadline = performance.now() + 300_000
  while ((await committedOf(system)) < count) {
    if (performance.now() > deadline) throw new Error(`${count} archives were not committed within 5 minutes`)
    await sleep(200)
  }
}

/** Of all keys, so that buffers of connections don't count. */
async function memoryOf({ client }: WorkerSystem): Promise<number> {
  const keys = await client.keys("*")
  const sizes = await Promise.all(keys.map((key) => client.memory("USAGE", key, "SAMPLES", 0)))
  return sizes.reduce<number>((sum, size) => sum + Number(size), 0)
}

async function countersOf({ client }: WorkerSystem) {
  const info = String(await client.call("INFO", "all"))
  const field = (name: string) => Number(new RegExp(`^${name}:(\\S+)`, "m").exec(info)?.[1])
  // What scripts call is not among Redis' own total.
  const calls = [...info.matchAll(/^cmdstat_\S+:calls=(\d+)/gm)].map(([, count]) => Number(count))
  return {
    commands: calls.reduce((sum, count) => sum + count, 0),
    aofBytes: field("aof_current_size"),
    cpuMs: 1_000 * (field("used_cpu_user") + field("used_cpu_sys")),
  }
}
