/** Backfills without workers' crypto: stores in memory, a real queue, and a fleet that commits by writing records. */
import { createHash, randomUUID } from "node:crypto"
import { type ErrorCode, UnsealError } from "@unseal/archive/errors"
import { recordKeyOf } from "@unseal/archive/record/record"
import type { ArchiveStore, StoredObject, WrittenPart } from "@unseal/archive/store/contract"
import { type Feeding, type FeedingOptions, startFeeding } from "@unseal/operations/backfill/feed/feeding"
import type { ManifestLine } from "@unseal/operations/backfill/home/line"
import { readManifest } from "@unseal/operations/backfill/home/manifest"
import type { LineOutcome } from "@unseal/operations/backfill/home/outcomes"
import { readState } from "@unseal/operations/backfill/home/state"
import { readReport } from "@unseal/operations/backfill/report"
import {
  type GivenLine,
  type Started,
  type StartOptions,
  startBackfill,
} from "@unseal/operations/backfill/start"
import { createProducer } from "@unseal/queue/enqueue/producer"
import type { JobPayload } from "@unseal/queue/jobs/job"
import type { RedisClient } from "@unseal/queue/redis/client"
import { createConsumer } from "@unseal/queue/run/consumer"
import { Redis } from "ioredis"
import { poisoned } from "../poisoned.ts"

export const never = new AbortController().signal

/** A store in memory. What `deny` returns for a call is thrown. */
export interface MemoryStore extends ArchiveStore {
  readonly objects: Map<string, Buffer>
  readonly calls: string[]
  deny: (call: "open" | "stat" | "create", key: string) => ErrorCode | undefined
}

export function memoryStore(location: string): MemoryStore {
  const objects = new Map<string, Buffer>()
  const calls: string[] = []
  const objectOf = (key: string, bytes: Buffer): StoredObject => ({
    ...{ key, size: bytes.length, metadata: {} },
    etag: createHash("sha256").update(bytes).digest("hex"),
  })
  function called(call: "open" | "stat" | "create", key: string): void {
    calls.push(`${call} ${key}`)
    const code = store.deny(call, key)
    if (code !== undefined) throw new UnsealError(code, `${location} refuses, as planned`)
  }
  const store: MemoryStore = {
    ...{ location, objects, calls, deny: () => undefined },
    async stat(key) {
      called("stat", key)
      const bytes = objects.get(key)
      return bytes === undefined ? null : objectOf(key, bytes)
    },
    async open(key, length) {
      called("open", key)
      const bytes = objects.get(key)
      if (bytes === undefined) return null
      async function* head() {
        yield Buffer.from(bytes!.subarray(0, length))
      }
      return { object: objectOf(key, bytes), head: head(), close() {} }
    },
    async *read({ key }, { start, end }) {
      yield Buffer.from(objects.get(key)!.subarray(start, end))
    },
    partSizeFor: () => 1 << 30,
    async create(key, _size, { existing }) {
      called("create", key)
      let body = Buffer.alloc(0)
      return {
        ...{ token: randomUUID(), resumable: false, keepsBodies: false, partSize: 1 << 30 },
        written: async () => new Map<number, WrittenPart>(),
        async writePart(_number, chunks) {
          body = Buffer.concat(chunks)
          return { size: body.length, tag: "t" }
        },
        async complete() {
          if (existing === "fail" && objects.has(key))
            throw new UnsealError("ERR_DESTINATION_EXISTS", `${location} has ${key}`)
          objects.set(key, body)
          return objectOf(key, body)
        },
        async abort() {},
      }
    },
    async *openUploads() {},
    async abortUpload() {},
    async remove(key) {
      objects.delete(key)
    },
  }
  // Its reads are wrapped in place, so that a test that changes `deny` changes this very store.
  return Object.assign(store, poisoned({ ...store }))
}

export const archiveOf = (
  projectId: string,
  fields: Partial<ManifestLine> = {},
): Omit<ManifestLine, "line"> => ({
  ...{ projectId, archiveId: randomUUID(), status: "uploaded", size: 1_000 },
  ...{ encryptedPassword: "d3JhcHBlZC1jYW5hcnk=", ...fields },
})
export const manifestOf = (archives: readonly Omit<ManifestLine, "line">[]): GivenLine[] =>
  archives.map((payload, index) => ({ line: index + 1, payload }))

const destinationKeyOf = (archive: { projectId: string; archiveId: string }) =>
  `${archive.projectId}/${archive.archiveId}/archive.ts`

/** Projects with a store each, one queue, and the processes that feed it. */
export interface BackfillWorld {
  readonly stores: ReadonlyMap<string, MemoryStore>
  /** How often each archive was committed. */
  readonly commits: Map<string, number>
  readonly troubles: { readonly id: string | null; readonly error: unknown }[]
  start(given: readonly GivenLine[], options?: Partial<StartOptions>): Promise<Started>
  /** One more process that feeds. */
  feed(options?: Partial<FeedingOptions>): Feeding & { kill(): void }
  /** Workers that commit what they take, unless `run` says otherwise. */
  work(run?: (payload: JobPayload) => Promise<void>): { close(): Promise<void> }
  hasEnded(started: Started): Promise<boolean>
  report(started: Started): Promise<LineOutcome[]>
  close(): Promise<void>
}

export function createBackfillWorld(
  queue: { readonly url: string; readonly name: string },
  projectIds: readonly string[],
): BackfillWorld {
  const stores = new Map(projectIds.map((id) => [id, memoryStore(`memory://${id}`)]))
  const commits = new Map<string, number>()
  const troubles: BackfillWorld["troubles"] = []
  const ends: (() => Promise<unknown> | unknown)[] = []
  const connect = (): RedisClient => {
    const client = new Redis(queue.url, { maxRetriesPerRequest: null })
    client.on("error", () => {})
    ends.push(() => client.disconnect())
    return client
  }
  const own = connect()

  function storeOf(projectId: string): MemoryStore {
    const store = stores.get(projectId)
    if (store === undefined)
      throw new UnsealError("ERR_JOB_INVALID", `project ${projectId} is not configured here`)
    return store
  }

  const world: BackfillWorld = {
    ...{ stores, commits, troubles },
    start: (given, options = {}) =>
      startBackfill(
        {
          ...{ connection: own, queue: queue.name, isProject: (id: string) => stores.has(id) },
          openHome: async (id: string) => storeOf(id),
        },
        (async function* () {
          yield* given
        })(),
        { again: false, segmentLines: 20, ...options },
        never,
      ),
    feed(options = {}) {
      const connection = connect()
      const producer = createProducer({ connection, queue: queue.name, deadlineMs: 10_000 })
      const feeding = startFeeding({
        ...{ connection, queue: queue.name, producer, window: 10_000 },
        ...{ leaseMs: 600, pauseMs: 20, searchAfterMs: 0 },
        homes: () => [...stores.keys()],
        openHome: async (id) => ({ store: storeOf(id), release() {} }),
        async sidesOf(archive) {
          const store = storeOf(archive.projectId)
          const destinationKey = destinationKeyOf(archive)
          return {
            source: store,
            destination: store,
            sourceKeys: [destinationKey],
            destinationKey,
            release() {},
          }
        },
        observe: {
          ...{ turned() {}, began() {}, ended() {} },
          halted: (id, error) => void troubles.push({ id, error }),
        },
        ...options,
      })
      ends.push(() => feeding.close())
      return Object.assign(feeding, { kill: () => connection.disconnect() })
    },
    work(run = async () => {}) {
      const consumer = createConsumer({
        ...{ connection: connect(), queue: queue.name, concurrency: 16, stallCheckMs: 300, lockMs: 3_000 },
        async run(payload) {
          await run(payload)
          const key = destinationKeyOf(payload)
          const store = storeOf(payload.projectId)
          if (!store.objects.has(key)) {
            store.objects.set(key, Buffer.from("plaintext"))
            commits.set(payload.archiveId, (commits.get(payload.archiveId) ?? 0) + 1)
          }
          store.objects.set(recordKeyOf(key), Buffer.from(JSON.stringify(recordOf(payload, key))))
          return {}
        },
        observe: { ended() {} },
      })
      ends.push(() => consumer.close())
      return consumer
    },
    async hasEnded({ id, home }) {
      return (await readState(storeOf(home), id, never)).endedAt !== undefined
    },
    async report({ id, home }) {
      const store = storeOf(home)
      const manifest = await readManifest(store, id, never)
      return Array.fromAsync(
        readReport({ connection: own, queue: queue.name }, { id, home, store }, manifest!, never),
      )
    },
    async close() {
      for (const end of ends.splice(0).reverse()) await end()
    },
  }
  return world
}

/** The record of a commit of the simulated fleet. */
export const recordOf = ({ projectId, archiveId, size = 0 }: JobPayload, key: string) => ({
  ...{ version: 1, projectId, archiveId, crc32: "00000000", attempts: 1, unsealVersion: "0" },
  source: { key, size, etag: "s" },
  destination: { key, size, etag: "d" },
  tail: { form: "unpadded", padding: 0 },
  media: { packets: 1, syncErrors: 0 },
  startedAt: new Date().toISOString(),
  finishedAt: new Date().toISOString(),
})
