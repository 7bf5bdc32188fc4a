import type { ArchiveSource } from "@unseal/archive/store/contract"

/** The content of a chunk that is no longer valid: no sync byte, no block of zeros. */
const JUNK = 0xdb

/**
 * Enforces a rule of `store`'s contract: a chunk is the consumer's only until it requests the next one. Then the chunk is
 * overwritten in place, and so is the last one when the loop is left. A consumer that keeps a chunk without a copy reads junk.
 */
export function poisoned<Store extends ArchiveSource>(store: Store): Store {
  return {
    ...store,
    async open(...asked: Parameters<ArchiveSource["open"]>) {
      const opened = await store.open(...asked)
      return opened && { ...opened, head: poisonedChunks(opened.head) }
    },
    read: (...asked: Parameters<ArchiveSource["read"]>) => poisonedChunks(store.read(...asked)),
  }
}

async function* poisonedChunks(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks)
    try {
      yield chunk
    } finally {
      chunk.fill(JUNK)
    }
}
