/** A world's processes: started, watched, and ended with it. */
import { readdirSync, readFileSync } from "node:fs"
import { type AppProcess, startApp } from "@unseal/test/harness/process"
import type { History } from "../history.ts"
import type { Env } from "../settings.ts"

export interface Member extends AppProcess {
  readonly name: string
  /** `false` once it has ended. */
  readonly alive: boolean
  /** Its usage right after the start. */
  readonly baseline: Usage
}

/** The resources that a process holds. */
export interface Usage {
  readonly descriptors: number
  readonly residentMb: number
}

export interface Members {
  /** All members, including those that have ended. */
  readonly all: readonly Member[]
  start(app: "ingest" | "worker", env: Env, within?: readonly string[]): Promise<Member>
  /** Ends all live members. */
  close(): Promise<void>
}

/** Processes that must not outlive this one, however it ends. */
const running = new Set<AppProcess>()
process.once("exit", () => {
  for (const member of running) member.kill("SIGKILL")
})

/** `common` is in every process's environment. */
export function createMembers(history: History, common: Env): Members {
  const members: Member[] = []

  async function start(app: "ingest" | "worker", env: Env, within: readonly string[] = []): Promise<Member> {
    const name = `${app} ${members.filter((member) => member.name.startsWith(app)).length + 1}`
    // Takes its place in the list, and so its name, before the process exists.
    const placeholder = { name, alive: false } as Member
    const index = members.push(placeholder) - 1
    const started = await startApp(app, {
      ...{ env: { ...common, ...env }, within },
      onLine: ({ msg, step, jobId }) => {
        if (msg === "step") history.add({ kind: "step", process: name, step: `${step}`, jobId: `${jobId}` })
      },
    })
    let alive = true
    running.add(started)
    void started.exited.then((code) => {
      running.delete(started)
      alive = false
      history.add({ kind: "process", process: name, what: `ended with ${code ?? "a signal"}` })
    })
    const member: Member = {
      ...started,
      name,
      baseline: usageOf(started.pid),
      get alive() {
        return alive
      },
    }
    members[index] = member
    history.add({ kind: "process", process: name, what: `listens, pid ${member.pid}` })
    return member
  }

  return {
    all: members,
    start,
    async close() {
      for (const member of members) {
        if (!member.alive) continue
        // A process that a test left stopped could not end.
        member.kill("SIGCONT")
        await member.stop()
      }
    },
  }
}

/** What a process holds now. Throws if it has ended. */
export function usageOf(pid: number): Usage {
  const residentKb = Number(/^VmRSS:\s+(\d+)/m.exec(statusOf(pid))?.[1] ?? 0)
  return { descriptors: readdirSync(`/proc/${pid}/fd`).length, residentMb: Math.round(residentKb / 1024) }
}

/** Open connections to `port` of this machine. Their callers keep them for the next request. */
export function callersOf(port: number): number {
  const isOpen = new RegExp(
    `^ *\\d+: [0-9A-F]{8}:${port.toString(16).toUpperCase().padStart(4, "0")} \\S+ 01 `,
    "gm",
  )
  return readFileSync("/proc/net/tcp", "utf8").match(isOpen)?.length ?? 0
}

/** Whether a signal has stopped it. */
export const isStopped = (pid: number): boolean => /^State:\s+T/m.test(statusOf(pid))

const statusOf = (pid: number): string => readFileSync(`/proc/${pid}/status`, "utf8")
