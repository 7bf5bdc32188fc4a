/** A process ends only with all of its threads, but nothing can end a thread that a dead mount blocks. */
import { spawn } from "node:child_process"

/** A working file system finishes pending operations within this time. */
const GRACE_MS = 2_000

/** Lets this process end: SIGKILL two seconds after its `exit` if `isBlocked` then. */
export function endThough(isBlocked: () => boolean): void {
  process.once("exit", () => {
    if (isBlocked()) killIfItStays()
  })
}

/**
 * Kills from a child process, because nothing of this one runs by then. The child checks that this process is still its parent:
 * after the end, its id may be another process's.
 */
function killIfItStays(): void {
  const script = `
    const until = Date.now() + ${GRACE_MS}
    setInterval(() => {
      if (process.ppid !== ${process.pid}) process.exit()
      if (Date.now() > until) process.kill(${process.pid}, "SIGKILL")
    }, 100)`
  spawn(process.execPath, ["-e", script], { stdio: "ignore", detached: true, env: {} }).unref()
}
