import { fstatSync, readlinkSync, readSync, statSync } from "node:fs"
import { isUnsealError, UnsealError } from "@unseal/archive/errors"
import { PART_UNIT } from "@unseal/archive/format/parts"
import type { OpenedStore, WrittenPart } from "@unseal/archive/store/contract"
import { fileError } from "@unseal/archive/store/directory/errors"
import { createTurns, untilAborted } from "@unseal/archive/waiting"
import { UsageError } from "./exit.ts"

/** About a mebibyte. */
const PART_SIZE = 1395 * PART_UNIT

/**
 * Standard output as a sink of one object. Parts may arrive in any order and leave in theirs. Output can't be taken back: unlike
 * with all other sinks, a failure may leave a beginning behind, which the exit code reports.
 */
export function createStandardOutput(
  output: NodeJS.WritableStream = process.stdout,
  name = "standard output",
): OpenedStore {
  const nothing = async function* () {}
  return {
    location: name,
    partSizeFor: () => PART_SIZE,
    stat: async () => null,
    open: async () => null,
    read: nothing,
    openUploads: nothing,
    abortUpload: async () => {},
    async remove() {
      throw new UnsealError("ERR_STORE_DENIED", `${name} takes nothing back`)
    },
    close: async () => {
      if (output !== process.stdout) await new Promise<void>((resolve) => output.end(() => resolve()))
    },
    async create(key, size, { metadata }) {
      const written = new Map<number, WrittenPart>()
      const turns = createTurns()
      let done = 0
      // The write that fails reports it.
      output.on("error", () => {})
      return {
        token: "standard-output",
        resumable: false,
        keepsBodies: false,
        partSize: PART_SIZE,
        written: async () => written,
        async writePart(number, body, _crc32, signal) {
          await turns.of(number, signal)
          for (const chunk of body) {
            await untilAborted(write(output, chunk), signal).catch((error) => {
              throw outputError(error, name, done, size, signal)
            })
            done += chunk.length
          }
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

/**
 * Throws `UsageError` if output would be lost. If a shell has closed standard output (`>&-`), Node opens /dev/null in its place,
 * for reading and writing. A shell's `> /dev/null` is intentional, and for writing only.
 */
export function refuseLostOutput(): void {
  if (!isSameDevice(1, "/dev/null") || !isReadable(1)) return
  throw new UsageError(
    "standard output is closed, or leads to /dev/null: name a file as DESTINATION, or /dev/null itself if you don't want the plaintext",
  )
}

function isSameDevice(file: number, path: string): boolean {
  try {
    const [stats, device] = [fstatSync(file), statSync(path)]
    return stats.isCharacterDevice() && stats.rdev === device.rdev
  } catch {
    return false
  }
}

function isReadable(file: number): boolean {
  try {
    readSync(file, Buffer.alloc(1))
    return true
  } catch {
    return false
  }
}

/** A system error as a sentence with the bytes that got through. main handles a reader that is gone. */
function outputError(error: unknown, name: string, done: number, size: number, signal: AbortSignal): unknown {
  const translated = fileError(error, "write", name, signal)
  if (!isUnsealError(translated)) return translated
  const { code } = error as NodeJS.ErrnoException
  const why = translated.code === "ERR_STORE_FULL" ? "no space is left" : code
  return new UnsealError(
    translated.code,
    `${name}${targetOfOutput(name)} took ${done} of ${size} bytes: ${why}`,
    { cause: error },
  )
}

/** Where standard output goes, if the system says so. */
function targetOfOutput(name: string): string {
  if (name !== "standard output") return ""
  try {
    return ` (${readlinkSync("/proc/self/fd/1")})`
  } catch {
    return ""
  }
}

/** Resolves when `chunk` has left, or when the output has ended with an error. Unlike "drain", it always calls back. */
function write(output: NodeJS.WritableStream, chunk: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    output.write(chunk, (error) => (error ? reject(error) : resolve()))
  })
}
