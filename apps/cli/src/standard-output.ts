import { UnsealError } from "@unseal/archive/errors"
import type { OpenedStore } from "@unseal/archive/store/adapter"
import type { WrittenPart } from "@unseal/archive/store/contract"
import { createTurns, untilAborted } from "@unseal/archive/waiting"

const PART_SIZE = 1024 * 1024

/**
 * Standard output as a sink of one object. Parts may come in any order and leave in theirs. What is written can't be taken
 * back: here, alone of all sinks, a failure may leave a beginning behind, which the exit code tells.
 */
export function createStandardOutput(output: NodeJS.WritableStream = process.stdout): OpenedStore {
  const nothing = async function* () {}
  return {
    location: "standard output",
    partSizeFor: () => PART_SIZE,
    stat: async () => null,
    open: async () => null,
    read: nothing,
    openUploads: nothing,
    abortUpload: async () => {},
    async remove() {
      throw new UnsealError("ERR_STORE_DENIED", "standard output takes nothing back")
    },
    close: async () => {},
    async create(key, size, { metadata }) {
      const written = new Map<number, WrittenPart>()
      const turns = createTurns()
      return {
        token: "standard-output",
        resumable: false,
        partSize: PART_SIZE,
        written: async () => written,
        async writePart(number, body, _crc32, signal) {
          await turns.of(number, signal)
          for (const chunk of body) await untilAborted(write(output, chunk), signal)
          const part = { size: body.reduce((sum, chunk) => sum + chunk.length, 0), tag: String(number) }
          written.set(number, part)
          turns.pass()
          return part
        },
        complete: async () => ({ key, size, etag: "", metadata }),
        abort: async () => {},
      }
    },
  }
}

/** Resolves when `chunk` has left, or the output has ended with an error: it answers in any case, unlike its "drain". */
function write(output: NodeJS.WritableStream, chunk: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    output.write(chunk, (error) => (error ? reject(error) : resolve()))
  })
}
