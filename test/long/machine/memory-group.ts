/** A control group of the kernel's that limits the memory of the processes in it, as a container's does. Needs root and Linux. */
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"

const MIB = 2 ** 20
/** Version 1, and version 2: the file of the limit, of the most that was used, and of the processes that were killed. */
const FORMS = [
  {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    most: "memory.max_usage_in_bytes",
    kills: "memory.oom_control",
  },
  { root: "/sys/fs/cgroup", limit: "memory.max", most: "memory.peak", kills: "memory.events" },
] as const

export interface MemoryGroup {
  /** A command prefix that puts what it executes into the group. */
  readonly within: readonly string[]
  /** Processes that the kernel has killed for their memory. */
  kills(): Promise<number>
  /** The most memory that was used at once, with the page cache. */
  peakMib(): Promise<number>
  /** Once all its processes have ended. */
  close(): Promise<void>
}

let groups = 0

/** `limit` is a quantity as Kubernetes has it, in `Mi`. */
export async function createMemoryGroup(limit: string): Promise<MemoryGroup> {
  const [, mebibytes] = /^(\d+)Mi$/.exec(limit) ?? []
  if (mebibytes === undefined) throw new Error(`${limit} is not in Mi`)
  for (const form of FORMS) {
    const path = join(form.root, `unseal-test-${process.pid}-${++groups}`)
    try {
      await mkdir(path)
      await writeFile(join(path, form.limit), String(Number(mebibytes) * MIB))
    } catch {
      await rmdir(path).catch(() => {})
      continue
    }
    return {
      within: ["sh", "-c", `echo $$ > ${join(path, "cgroup.procs")} && exec "$@"`, "sh"],
      async kills() {
        const [, count] = /oom_kill (\d+)/.exec(await readFile(join(path, form.kills), "utf8")) ?? []
        if (count === undefined) throw new Error(`${form.kills} does not say how many were killed`)
        return Number(count)
      },
      peakMib: async () => Number(await readFile(join(path, form.most), "utf8")) / MIB,
      async close() {
        for (let tries = 0; tries < 50; tries++)
          try {
            return await rmdir(path)
          } catch {
            await sleep(100)
          }
      },
    }
  }
  throw new Error("no memory control group can be made here: run this as root, on a machine that has them")
}
