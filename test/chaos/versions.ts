/** Every content that a bucket's visible keys ever had. */
import { createHash } from "node:crypto"
import type { ArchiveStore } from "@unseal/archive/store/contract"
import type { Operation } from "@unseal/simulator/s3/faults/log"
import type { S3Server } from "@unseal/simulator/s3/http/server"

export interface Version {
  readonly etag: string
  readonly size: number
  readonly sha256: string
}

export interface Versions {
  /** How often something became visible under `key`. */
  writes(key: string): number
  /** Oldest first. */
  of(key: string): readonly Version[]
  readonly keys: readonly string[]
  /** Resolves when everything that became visible has been read. Call it when all faults are over. */
  settled(): Promise<void>
  stop(): void
}

/** Faults that come before an operation takes effect. With one of these it never does, whatever else strikes it. */
const BEFORE: ReadonlySet<string> = new Set(["hang", "reset", "status", "errorInOk"])

/** Whether the operation took effect, whatever its client was told. */
function isApplied({ status, code, fault }: Operation): boolean {
  const faults = fault?.split(",") ?? []
  if (code !== undefined || faults.some((name) => BEFORE.has(name))) return false
  return status === 200 || faults.some((name) => name.startsWith("applyThen"))
}

export function watchVersions(
  s3: S3Server,
  bucket: string,
  store: ArchiveStore,
  onVersion: (key: string, version: Version) => void,
): Versions {
  const writes = new Map<string, number>()
  const seen = new Map<string, Version[]>()
  /** Failed looks: the plan's faults strike them as well. */
  const missed = new Set<string>()
  let reading: Promise<void> = Promise.resolve()

  async function look(key: string): Promise<void> {
    const signal = AbortSignal.timeout(60_000)
    const object = await store.stat(key, signal)
    const before = seen.get(key) ?? []
    if (object === null || before.some(({ etag }) => etag === object.etag)) return
    const hash = createHash("sha256")
    if (object.size > 0)
      for await (const chunk of store.read(object, { start: 0, end: object.size }, signal)) hash.update(chunk)
    const version = { etag: object.etag, size: object.size, sha256: hash.digest("hex") }
    seen.set(key, [...before, version])
    onVersion(key, version)
  }

  const stop = s3.operations.subscribe((operation) => {
    const { key } = operation
    if (operation.bucket !== bucket || !isApplied(operation)) return
    if (operation.operation !== "PutObject" && operation.operation !== "CompleteMultipartUpload") return
    writes.set(key, (writes.get(key) ?? 0) + 1)
    const looking = look(key).catch(() => missed.add(key))
    reading = Promise.all([reading, looking]).then(() => {})
  })
  return {
    writes: (key) => writes.get(key) ?? 0,
    of: (key) => seen.get(key) ?? [],
    get keys() {
      return [...writes.keys()]
    },
    async settled() {
      await reading
      for (const key of missed) await look(key)
      missed.clear()
    },
    stop,
  }
}
