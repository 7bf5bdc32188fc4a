import type { ArchiveSource, OpenedObject } from "./contract.ts"

/** Implements `ArchiveSource.open` with two requests, for stores that can't do it with one. */
export async function openInTwo(
  source: Pick<ArchiveSource, "stat" | "read">,
  key: string,
  length: number,
  signal: AbortSignal,
): Promise<OpenedObject | null> {
  const object = await source.stat(key, signal)
  if (object === null) return null
  const end = Math.min(length, object.size)
  // `read` sends nothing until its first piece is requested.
  const head = end === 0 ? nothing() : source.read(object, { start: 0, end }, signal)
  return { object, head, close() {} }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
