import { type ErrorCode, UnsealError } from "../../../packages/archive/src/errors.ts"
import type {
  ArchiveStore,
  PartWriter,
  StoredObject,
  WrittenPart,
} from "../../../packages/archive/src/store/contract.ts"
import { copied } from "../../../packages/archive/src/store/small-object.ts"
import { poisoned } from "../poisoned.ts"

export const never = new AbortController().signal
export const fast = { baseMs: 0, maxMs: 0 }
export const failure = (code: ErrorCode = "ERR_STORE_UNAVAILABLE") => new UnsealError(code, "planned")

/** What one call does: succeed, fail at once, or (a read) fail after that many bytes. */
export type Fate = "ok" | ErrorCode | { after: number }

interface FaultyStore extends ArchiveStore {
  /** One line for each call received. */
  readonly calls: string[]
}

/** A store of one object in memory. Its calls meet `fates` in turn, and succeed when those are used up. */
export function faultyStore(bytes: Uint8Array, fates: Fate[]): FaultyStore {
  const calls: string[] = []
  const next = (call: string): Fate => {
    calls.push(call)
    const fate = fates.shift() ?? "ok"
    if (typeof fate === "string" && fate !== "ok") throw failure(fate)
    return fate
  }
  const object: StoredObject = { key: "a", size: bytes.length, etag: "1", metadata: {} }
  const parts = new Map<number, WrittenPart>()
  const writer: PartWriter = {
    token: "token",
    resumable: true,
    keepsBodies: false,
    partSize: 16,
    async written() {
      next("written")
      return parts
    },
    async writePart(number, body, sum) {
      next(`writePart ${number}`)
      const part = { size: body.reduce((size, chunk) => size + chunk.length, 0), tag: String(sum) }
      parts.set(number, part)
      return part
    },
    async complete() {
      next("complete")
      return object
    },
    async abort() {
      next("abort")
    },
  }
  async function* piecesTo(start: number, end: number, fate: Fate) {
    for (let at = start; at < end; at += 7) yield bytes.slice(at, Math.min(end, at + 7))
    if (typeof fate === "object") throw failure()
  }
  return poisoned({
    calls,
    location: "memory://",
    partSizeFor: () => 16,
    async stat() {
      next("stat")
      return object
    },
    async open(_, length) {
      const fate = next("open")
      const stop = typeof fate === "object" ? fate.after : length
      return { object, head: piecesTo(0, stop, fate), close: () => calls.push("close") }
    },
    async *read(_, { start, end }) {
      const fate = next(`read ${start}-${end}`)
      yield* piecesTo(start, typeof fate === "object" ? Math.min(end, start + fate.after) : end, fate)
    },
    async create() {
      next("create")
      return writer
    },
    async *openUploads() {
      next("openUploads")
      yield { key: "a", token: "token", startedAt: new Date(0) }
    },
    async remove() {
      next("remove")
    },
    async abortUpload() {
      next("abortUpload")
    },
  })
}

export const bytes = Uint8Array.from({ length: 100 }, (_, index) => index)
export const object: StoredObject = { key: "a", size: 100, etag: "1", metadata: {} }

export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  return Buffer.concat(await Array.fromAsync(copied(chunks)))
}
