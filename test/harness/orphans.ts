/** Processes of a test end with it, even if it is killed: then no code of its own runs any more. */
import { type ChildProcess, spawn } from "node:child_process"
import type { Writable } from "node:stream"

/**
 * Reads `+PID` and `-PID` lines until the other end of the pipe is gone, however it went, and then kills who is left. A PID is
 * between blanks, so that 12 is not found in 123.
 */
const REAPER = `
left=" "
while read -r line; do
  pid=\${line#?}
  case $line in
    +*) left="$left$pid " ;;
    -*) case $left in *" $pid "*) left="\${left%%" $pid "*} \${left#*" $pid "}" ;; esac ;;
  esac
done
for pid in $left; do kill -9 "$pid"; done`

let reaper: Writable | null = null

/** Has `child` killed once this process is gone, unless it has ended before. Does not keep this process alive. */
export function neverOrphan(child: ChildProcess): void {
  const { pid } = child
  if (pid === undefined) return
  reaper ??= startReaper()
  reaper.write(`+${pid}\n`)
  child.once("exit", () => reaper?.write(`-${pid}\n`))
}

function startReaper(): Writable {
  // In a session of its own: Ctrl-C signals the whole group of a terminal, and the reaper must outlive the others.
  const child = spawn("sh", ["-c", REAPER], { detached: true, stdio: ["pipe", "ignore", "ignore"] })
  child.unref()
  const stdin = child.stdin as Writable & { unref(): void }
  stdin.unref()
  stdin.on("error", () => {})
  return stdin
}
