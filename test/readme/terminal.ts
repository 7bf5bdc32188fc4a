/** A terminal into which a reader pastes a document's blocks: one bash, which keeps its variables and folder between blocks. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { appendFileSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"

export interface TerminalOptions {
  readonly name: string
  /** Its first working directory. */
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  /** For its own files. */
  readonly directory: string
}

export interface Run {
  /** What it has printed so far, standard error included. */
  output(): string
  /** `undefined` while the block runs; then the first command that failed, if any. */
  ended(): { readonly failed?: { readonly line: number; readonly code: number } } | undefined
}

export interface Terminal {
  /** Begins a block. The previous one must have ended. */
  run(script: string): Run
  /** Ctrl-C: sends SIGINT to the process group in the foreground. */
  interrupt(): void
  /** Ends everything in it. */
  close(): Promise<void>
}

/** As in an interactive shell, aliases work, and Ctrl-C ends the running command but not the shell. A pipe fails if any part of it does. */
const PREPARATION = [
  "shopt -s expand_aliases",
  "set -o pipefail",
  "trap : INT",
  // The first failure of a block counts.
  `trap 'unseal_failed="\${unseal_failed:-$LINENO $?}"' ERR`,
].join("\n")

export function openTerminal({ name, cwd, env, directory }: TerminalOptions): Terminal {
  // A session of its own, so that it has a process group as in a terminal.
  const bash = spawn("bash", ["--noprofile", "--norc"], {
    ...{ cwd, env, detached: true },
    stdio: ["pipe", "ignore", "ignore"],
  })
  bash.stdin.on("error", () => {})
  bash.stdin.write(`${PREPARATION}\n`)
  const group = bash.pid!
  let runs = 0
  const gone = once(bash, "exit")

  return {
    run(script) {
      const path = (kind: string) => join(directory, `${name}-${runs}.${kind}`)
      runs++
      const [block, output, end] = [path("sh"), path("out"), path("end")]
      writeFileSync(block, `${script}\n`)
      for (const file of [output, end]) appendFileSync(file, "")
      bash.stdin.write(
        `unseal_failed=; . '${block}' </dev/null >'${output}' 2>&1; echo "ended $unseal_failed" >'${end}'\n`,
      )
      const read = (file: string) => readFileSync(file, "utf8")
      return {
        output: () => read(output),
        ended() {
          if (bash.exitCode !== null || bash.signalCode !== null)
            return { failed: { line: 1, code: bash.exitCode ?? 1 } }
          const [, line, code] = /^ended(?: (\d+) (\d+))? ?\n/.exec(read(end)) ?? []
          if (line !== undefined) return { failed: { line: Number(line), code: Number(code) } }
          return read(end).endsWith("\n") ? {} : undefined
        },
      }
    },
    interrupt: () => signal(group, "SIGINT"),
    async close() {
      signal(group, "SIGTERM")
      bash.stdin.end()
      for (let waited = 0; waited < 5_000 && signal(group, 0); waited += 50) await sleep(50)
      signal(group, "SIGKILL")
      await gone
    },
  }
}

/** Whether there was somebody to signal. */
function signal(group: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-group, name)
  } catch {
    return false
  }
}
