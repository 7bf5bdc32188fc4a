import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, readFileSync } from "node:fs"
import { expect, it } from "vitest"
import { neverOrphan } from "./orphans.ts"

const ORPHANS = new URL("orphans.ts", import.meta.url)

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // A zombie has ended, even if nobody has waited for it yet.
    return !existsSync("/proc/self") || !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ")
  } catch {
    return false
  }
}

it("ends the processes of a test that is killed, and only those that are still its own", async () => {
  const program = `
    import { spawn } from "node:child_process"
    import { once } from "node:events"
    import { neverOrphan } from ${JSON.stringify(ORPHANS.href)}
    const start = (...args) => {
      const child = spawn("sleep", args)
      neverOrphan(child)
      return child
    }
    const ended = start("0")
    await once(ended, "exit")
    console.log([ended.pid, start("600").pid, start("600").pid].join(" "))
    setInterval(() => {}, 1e6)`
  const test = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  neverOrphan(test)
  const [line] = (await once(test.stdout, "data")) as [Buffer]
  const [ended, ...left] = line.toString().trim().split(" ").map(Number) as [number, number, number]
  expect(isRunning(ended)).toBe(false)
  expect(left.map(isRunning)).toEqual([true, true])
  test.kill("SIGKILL")
  await expect.poll(() => left.map(isRunning), { timeout: 60_000 }).toEqual([false, false])
})

it("lets a process that has started others end by itself", async () => {
  const program = `
    import { spawn } from "node:child_process"
    import { once } from "node:events"
    import { neverOrphan } from ${JSON.stringify(ORPHANS.href)}
    const child = spawn("sleep", ["0"])
    neverOrphan(child)
    await once(child, "exit")`
  const test = spawn(process.execPath, ["--input-type=module", "--eval", program], { stdio: "inherit" })
  neverOrphan(test)
  expect(await once(test, "exit")).toEqual([0, null])
})
