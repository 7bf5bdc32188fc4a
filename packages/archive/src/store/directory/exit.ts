/** A process ends only when all its threads have, and nothing can end one that a dead mount blocks. */
import { spawn } from "node:child_process"

/** A file system that works ends in so long what it has begun. */
const GRACE_MS = 2_000

/** Lets this process end, by SIGKILL two seconds after its `exit`, if `isBlocked` then. */
export function endThough(isBlocked: () => boolean): void {
  process.once("exit", () => {
    if (isBlocked()) killIfItStays()
  })
}

/** From outside, since nothing of this process runs any more by then. One that has ended is nobody's parent, so no other is meant. */
function killIfItStays(): void {
  const script = `
    const until = Date.now() + ${GRACE_MS}
    setInterval(() => {
      if (process.ppid !== ${process.pid}) process.exit()
      if (Date.now() > until) process.kill(${process.pid}, "SIGKILL")
    }, 100)`
  spawn(process.execPath, ["-e", script], { stdio: "ignore", detached: true, env: {} }).unref()
}
