/** The real side of the model: stores and a checkpoint that fail or stop at a chosen call. */

import { createHash, generateKeyPairSync } from "node:crypto"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, readFile, rename, rm, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll } from "vitest"
import {
  type ArchiveRequest,
  type DecryptResult,
  decryptArchive,
} from "../../../packages/archive/src/decrypt/archive.ts"
import type { createByteBudget } from "../../../packages/archive/src/decrypt/budget.ts"
import type {
  Checkpoint,
  CheckpointLog,
  CheckpointUpload,
  PartReceipt,
} from "../../../packages/archive/src/decrypt/checkpoint.ts"
import { UnsealError } from "../../../packages/archive/src/errors.ts"
import { createKeyRing, parsePrivateKey } from "../../../packages/archive/src/format/key-ring.ts"
import { encodePassword, wrapPassword } from "../../../packages/archive/src/format/password.ts"
import type { ArchiveStore, PartWriter } from "../../../packages/archive/src/store/contract.ts"
import { openFileStore } from "../../../packages/archive/src/store/directory/store.ts"
import { openInTwo } from "../../../packages/archive/src/store/open-in-two.ts"
import { poisoned } from "../poisoned.ts"
import {
  type Content,
  contentKey,
  type Interruption,
  KEY,
  type Model,
  makeVersion,
  type RunOptions,
  type Version,
  type Visible,
} from "./model.ts"

const never = new AbortController().signal
const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
const keyRing = createKeyRing([
  parsePrivateKey(Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" })), "k.pem"),
])

const encryptedPassword = wrapPassword(encodePassword(contentKey), publicKey)

/** A checkpoint that outlives the runs, like the one in Redis. A part may be noted after another run has cleared it. */
function createMemoryLog() {
  let upload: CheckpointUpload | undefined
  let parts = new Map<number, PartReceipt>()
  let record: unknown
  const begin = (next?: CheckpointUpload) => {
    upload = next
    parts = new Map()
    record = undefined
  }
  return {
    get token() {
      return upload?.token
    },
    async load(): Promise<Checkpoint | null> {
      if (upload === undefined && (parts.size > 0 || record === undefined)) return null
      return { ...(upload && { upload }), parts: new Map(parts), ...(record !== undefined && { record }) }
    },
    begin: async (next: CheckpointUpload) => begin(next),
    part: async (number: number, receipt: PartReceipt) => void parts.set(number, receipt),
    async seal(sealed: unknown) {
      record = JSON.parse(JSON.stringify(sealed))
    },
    clear: async () => begin(),
    notes: async (token: string) => upload?.token === token,
    hasRivals: async () => false,
  }
}

type Pass = <Result>(call: string, effect: () => Promise<Result>) => Promise<Result>

const interruptedWriter = (writer: PartWriter, pass: Pass): PartWriter => ({
  token: writer.token,
  resumable: writer.resumable,
  keepsBodies: writer.keepsBodies,
  partSize: writer.partSize,
  written: (signal) => pass("written", () => writer.written(signal)),
  writePart: (number, body, crc, signal) =>
    pass("writePart", () => writer.writePart(number, body, crc, signal)),
  complete: (parts, signal) => pass("complete", () => writer.complete(parts, signal)),
  abort: () => pass(`abort ${writer.token}`, () => writer.abort()),
})

const interruptedSource = (store: ArchiveStore, pass: Pass): Pick<ArchiveStore, "stat" | "read"> => ({
  stat: (key, signal) => pass("stat", () => store.stat(key, signal)),
  async *read(object, range, signal) {
    const chunks = await pass("read", async () => {
      const all: Uint8Array[] = []
      for await (const chunk of store.read(object, range, signal)) all.push(Uint8Array.from(chunk))
      return all
    })
    yield* chunks
  },
})

const interruptedStore = (
  store: ArchiveStore,
  pass: Pass,
  created: (token: string) => void,
): ArchiveStore => ({
  ...store,
  ...interruptedSource(store, pass),
  open: (...asked) => openInTwo(interruptedSource(store, pass), ...asked),
  async create(key, size, options, signal) {
    const writer = await pass("create", async () => {
      const begun = await store.create(key, size, options, signal)
      created(begun.token)
      return begun
    })
    return interruptedWriter(writer, pass)
  },
  abortUpload: (upload, signal) => pass(`abort ${upload.token}`, () => store.abortUpload(upload, signal)),
})

const interruptedLog = (log: CheckpointLog, pass: Pass): CheckpointLog => ({
  load: () => pass("load", () => log.load()),
  begin: (upload) => pass("begin", () => log.begin(upload)),
  part: (number, receipt) => pass("part", () => log.part(number, receipt)),
  seal: (record) => pass("seal", () => log.seal(record)),
  clear: () => pass("clear", () => log.clear()),
  notes: (token) => pass("notes", () => log.notes(token)),
  hasRivals: () => pass("rivals", () => log.hasRivals()),
})

/** The system under test: two directories and a checkpoint. */
export async function createWorld(root: string) {
  const directory = await mkdtemp(join(root, "history-"))
  const pathOf = (store: string, key = KEY) => join(directory, store, key)
  for (const store of ["source", "destination"]) await mkdir(join(directory, store))
  // The adapter without the request layer's retries, whose pauses would take most of the test's time.
  const open = async (store: string, partSizeBytes: number) =>
    poisoned(
      await openFileStore(
        { kind: "file", directory: join(directory, store), key: "" } as Parameters<typeof openFileStore>[0],
        { partSizeBytes, env: {}, idleTimeoutMs: 30_000 },
      ),
    )
  const source = await open("source", 16)
  const destination = await open("destination", 16)
  const log = createMemoryLog()
  let changes = 0

  /** Replaces the whole object at once, like an upload. Its time is its number, because clocks tick too slowly for new versions. */
  async function replace(store: string, bytes: Uint8Array): Promise<void> {
    changes++
    const temporary = pathOf(store, `.new-${changes}`)
    await writeFile(temporary, bytes)
    await utimes(temporary, changes, changes)
    await rename(temporary, pathOf(store))
  }

  async function putSource(content: Content): Promise<Version> {
    const version = makeVersion(changes + 1, content)
    await replace("source", version.ciphertext)
    return { ...version, etag: (await source.stat(KEY, never))!.etag }
  }

  async function putForeign(): Promise<Visible> {
    const bytes = Buffer.from(`foreign ${changes + 1}`)
    await replace("destination", bytes)
    return { bytes }
  }

  async function openTokens(key?: string): Promise<Set<string>> {
    const tokens = new Set<string>()
    for await (const upload of destination.openUploads(never, key)) tokens.add(upload.token)
    return tokens
  }

  return {
    ...{ log, source, putSource, putForeign, openTokens },
    open: (partSize: number) => open("destination", partSize),
    etag: async () => (await destination.stat(KEY, never))?.etag,
    bytes: async () => (existsSync(pathOf("destination")) ? readFile(pathOf("destination")) : null),
    record: async () => JSON.parse(await readFile(pathOf("destination", "archive.json"), "utf8")),
    remove: (key: "source" | "destination" | "record") =>
      rm(key === "record" ? pathOf("destination", "archive.json") : pathOf(key), { force: true }),
    close: () => rm(directory, { recursive: true }),
  }
}

export type World = Awaited<ReturnType<typeof createWorld>>

/** How a run ended, and what intervened. */
export interface Ended {
  readonly result?: DecryptResult
  readonly error?: unknown
  /** What the interruption threw. */
  readonly thrown?: Error
  readonly crashed: boolean
  /** Uploads whose beginning or end was reported to nobody. */
  readonly lost: ReadonlySet<string>
  /** The version that meanwhile replaced the source, or the object at the destination. */
  readonly version?: Version
  readonly foreign?: Visible
}

export async function runOnce(
  world: World,
  model: Model,
  options: RunOptions,
  budget: ReturnType<typeof createByteBudget>,
  interruption?: Interruption,
): Promise<Ended> {
  const stop = new AbortController()
  const lost = new Set<string>()
  let calls = 0
  let thrown: Error | undefined
  let crashed = false
  let version: Version | undefined
  let foreign: Visible | undefined
  let created = ""

  async function interrupt(call: string): Promise<void> {
    const { what } = interruption!
    if (what === "source") version = await world.putSource({ blocks: 141 })
    else if (what === "foreign") foreign = await world.putForeign()
    else {
      const code = what === "permanent" ? "ERR_STORE_DENIED" : "ERR_STORE_UNAVAILABLE"
      const isStore = !["load", "begin", "part", "seal", "clear", "fence"].includes(call)
      thrown =
        isStore && /t$/.test(what) && what !== "abort" ? new UnsealError(code, "as planned") : new Error(what)
      if (what === "abort") return stop.abort(thrown)
      if (what === "crash") crashed = true
      // Nobody can know whether these are still open.
      if (call === "create") lost.add(created)
      if (call === "begin" || call === "load") lost.add(world.log.token ?? "")
      if (call.startsWith("abort ")) lost.add(call.slice(6))
      throw thrown
    }
  }

  const pending = new Set<Promise<unknown>>()
  const pass: Pass = (call, effect) => {
    const passing = passOnce(call, effect)
    pending.add(passing)
    return passing
  }
  const passOnce: Pass = async (call, effect) => {
    // A dead process makes no calls, and gets no answers.
    if (crashed) throw thrown
    const isIt = ++calls === interruption?.call
    if (isIt && interruption?.when === "before") await interrupt(call)
    const result = await effect()
    if (isIt && interruption?.when === "after") await interrupt(call)
    if (crashed) throw thrown
    return result
  }

  const digest = createHash("sha256")
    .update(model.source?.ciphertext ?? "")
    .digest("base64")
  const request: ArchiveRequest = {
    ...{ archiveId: "b40ef09b-3811-4726-b508-e41a0f96c68f", projectId: "123456", encryptedPassword },
    source: interruptedStore(world.source, pass, () => {}),
    sourceKeys: [KEY],
    destination: interruptedStore(await world.open(options.partSize), pass, (token) => {
      created = token
    }),
    destinationKey: KEY,
    ...(options.announced && interruption?.what !== "source" && { announced: { sha256sum: digest } }),
  }
  const { tail, existing, checkpoint } = options
  const ended = await decryptArchive(
    request,
    {
      ...{ keyRing, budget, tail, existing, digest: options.digest, record: true },
      ...(checkpoint !== "none" && { checkpoint: interruptedLog(world.log, pass), startedBefore: true }),
      fence: () => pass("fence", async () => {}),
    },
    stop.signal,
  ).then(
    (result) => ({ result }),
    (error: unknown) => ({ error }),
  )
  // A look at one store may outlast a run that another look's answer ended.
  await Promise.allSettled(pending)
  return {
    ...ended,
    ...(thrown && { thrown }),
    ...{ crashed, lost },
    ...(version && { version }),
    ...(foreign && { foreign }),
  }
}

export let root: string
beforeAll(async () => {
  // In memory where possible, because the file store waits for the disk after every part.
  root = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "unseal-model-"))
})
afterAll(() => rm(root, { recursive: true }))
