import type { ArchiveSource } from "@unseal/archive/store/contract"

/** What a chunk holds once it is void: no sync byte, no block of zeros. */
const JUNK = 0xdb

/**
 * `store`, held to the sentence of its contract that a chunk is the consumer's only until it asks for the next one: each
 * chunk is then overwritten, in place, as is the last one when the loop is left. Whoever keeps a chunk without a copy reads junk.
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
