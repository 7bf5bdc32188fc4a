/** Verifies that a commit took effect. Some stores report success, and assemble nothing or too little. */
import { crc32 } from "node:zlib"
import { counted } from "../counted.ts"
import { UnsealError } from "../errors.ts"
import { formatCrc32 } from "../format/crc32.ts"
import { createThreadHash } from "../ordered/hash-thread.ts"
import type { ArchiveStore, StoredObject } from "../store/contract.ts"
import type { ArchiveRecord } from "./record.ts"

/** `size`: checks the size of each object assembled from parts · `content`: reads every object back. */
export type VerifyRule = "size" | "content"

/** The expected result of the commit. */
export type Expected = Pick<ArchiveRecord, "destination" | "crc32" | "sha256">

/** Throws `ERR_COMMIT_MISMATCH` unless `found` at the destination has the size and, with `content`, the bytes of `expected`. */
export async function verifyCommit(
  store: ArchiveStore,
  found: StoredObject | null,
  expected: Expected,
  rule: VerifyRule,
  signal: AbortSignal,
  moved?: (bytes: number) => void,
): Promise<void> {
  const { key, size } = expected.destination
  if (found === null)
    throw mismatch(
      store,
      `has nothing under ${key}, where ${counted(size, "byte was", "bytes were")} committed`,
    )
  if (found.size !== size)
    throw mismatch(store, `has ${counted(found.size, "byte")} under ${key}, where ${size} were committed`)
  if (rule === "content") await verifyContent(store, found, expected, signal, moved)
}

async function verifyContent(
  store: ArchiveStore,
  found: StoredObject,
  expected: Expected,
  signal: AbortSignal,
  moved: ((bytes: number) => void) | undefined,
): Promise<void> {
  const hash = expected.sha256 && createThreadHash()
  let checksum = 0
  let sha256: string | undefined
  try {
    if (found.size > 0)
      for await (const chunk of store.read(found, { start: 0, end: found.size }, signal)) {
        checksum = crc32(chunk, checksum)
        moved?.(chunk.length)
        await hash?.update(chunk, signal)
      }
    sha256 = await hash?.digest(undefined, signal)
  } finally {
    hash?.close()
  }
  const is = formatCrc32(checksum)
  if (is !== expected.crc32)
    throw mismatch(
      store,
      `gives back other bytes under ${found.key} than were written: CRC-32 ${is} instead of ${expected.crc32}`,
    )
  if (sha256 !== expected.sha256?.plaintext)
    throw mismatch(
      store,
      `gives back other bytes under ${found.key} than were written: SHA-256 ${sha256} instead of ${expected.sha256?.plaintext}`,
    )
}

function mismatch(store: ArchiveStore, what: string): UnsealError {
  const error = new UnsealError("ERR_COMMIT_MISMATCH", `${store.location} ${what}`)
  error.side = "destination"
  return error
}
