import { once } from "node:events"
import { UnsealError } from "@unseal/archive/errors"
import type { OpenedStore } from "@unseal/archive/store/adapter"
import type { WrittenPart } from "@unseal/archive/store/contract"

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
      const waiting = new Map<number, () => void>()
      let next = 1
      return {
        token: "standard-output",
        resumable: false,
        partSize: PART_SIZE,
        written: async () => written,
        async writePart(number, body, _crc32, signal) {
          while (number !== next) await turn(waiting, number, signal)
          for (const chunk of body) if (!output.write(chunk)) await once(output, "drain", { signal })
          const part = { size: body.reduce((sum, chunk) => sum + chunk.length, 0), tag: String(number) }
          written.set(number, part)
          next++
          waiting.get(next)?.()
          return part
        },
        complete: async () => ({ key, size, etag: "", metadata }),
        abort: async () => {},
      }
    },
  }
}

function turn(waiting: Map<number, () => void>, number: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(signal.reason)
    signal.addEventListener("abort", giveUp, { once: true })
    waiting.set(number, () => {
      signal.removeEventListener("abort", giveUp)
      waiting.delete(number)
      resolve()
    })
  })
}
