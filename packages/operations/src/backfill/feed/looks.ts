/** Looks at the stores of many lines' projects, some at a time. */
import { isUnsealError } from "@unseal/archive/errors"
import type { ArchiveStore } from "@unseal/archive/store/contract"
import type { ManifestLine } from "../home/line.ts"
import type { Blocks } from "./blocks.ts"

/** What a line needs of its project. */
export interface LineSides {
  readonly source: ArchiveStore
  readonly destination: ArchiveStore
  readonly sourceKeys: readonly string[]
  readonly destinationKey: string
  /** Must be called once. */
  release(): void
}

/** The stores of a line's project. Throws `UnsealError` if they can't be opened, or if the project is not configured here. */
export type SidesOf = (
  archive: Pick<ManifestLine, "projectId" | "archiveId" | "sourceKey">,
) => Promise<LineSides>

/** How many stores are asked at the same time. */
const LOOKS_AT_ONCE = 64

/**
 * Runs `work` for each of `items`, some at a time, until `signal` is aborted. Trouble of a project blocks only that project, and
 * its later items are skipped. Anything else is thrown.
 */
export async function lookAtEach<T extends { readonly projectId: string }>(
  items: readonly T[],
  blocks: Blocks,
  work: (item: T) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  let next = 0
  const worker = async () => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) {
      signal.throwIfAborted()
      if (blocks.isBlocked(item.projectId)) continue
      try {
        await work(item)
        blocks.clear(item.projectId)
      } catch (error) {
        if (!isUnsealError(error)) throw error
        blocks.block(item.projectId, `${error.code}: ${error.message}`)
      }
    }
  }
  const ended = await Promise.allSettled(Array.from({ length: LOOKS_AT_ONCE }, worker))
  for (const one of ended) if (one.status === "rejected") throw one.reason
}

/** Runs `work` with the sides of `archive`. */
export async function withSides<T>(
  sidesOf: SidesOf,
  archive: Parameters<SidesOf>[0],
  work: (sides: LineSides) => Promise<T>,
): Promise<T> {
  const sides = await sidesOf(archive)
  try {
    return await work(sides)
  } finally {
    sides.release()
  }
}
