/**
 * Named pipes, and those that a shell makes. Opening one in the usual way blocks a thread, and so the end of the process, until
 * the other end is opened.
 */
import { constants, createReadStream, createWriteStream, openSync } from "node:fs"
import { Socket } from "node:net"
import { addAbortSignal, type Readable, type Writable } from "node:stream"
import { setTimeout as sleep } from "node:timers/promises"

const LOOK_MS = 100

/** Reads the pipe at `path` to its end. `signal` ends the wait for a writer, and its reason is the error. */
export function readPipe(path: string, signal: AbortSignal): Readable {
  const readable =
    process.platform === "linux"
      ? new Socket({ fd: openSync(path, constants.O_RDONLY | constants.O_NONBLOCK), writable: false })
      : createReadStream(path)
  return addAbortSignal(signal, readable)
}

/**
 * Opens the pipe at `path` for writing once somebody reads from it. Rejects with the reason of `signal`, or with the system's
 * error.
 */
export async function openPipeToWrite(path: string, signal: AbortSignal): Promise<Writable> {
  if (process.platform !== "linux") return createWriteStream(path)
  for (;;) {
    signal.throwIfAborted()
    try {
      const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
      return new Socket({ fd, readable: false, writable: true })
    } catch (error) {
      // Nobody reads yet.
      if ((error as NodeJS.ErrnoException).code !== "ENXIO") throw error
    }
    await sleep(LOOK_MS, undefined, { signal }).catch(() => {})
  }
}
