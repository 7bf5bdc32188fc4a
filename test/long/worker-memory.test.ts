import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { readAccounts } from "@unseal/queue/accounting"
import { Redis } from "ioredis"
import { afterAll, beforeAll, expect, test } from "vitest"
import { startSystem } from "../harness/system.ts"
import { objectsOf, renderFirst } from "../kubernetes/rendered.ts"

renderFirst()

const MIB = 2 ** 20
/** Version 1, and version 2 of control groups: the file of the limit, of the most that was used, and of how often it was hit. */
const FORMS = [
  {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    most: "memory.max_usage_in_bytes",
    kills: "memory.oom_control",
  },
  { root: "/sys/fs/cgroup", limit: "memory.max", most: "memory.peak", kills: "memory.events" },
] as const
type Form = (typeof FORMS)[number]

let group: { form: Form; path: string } | undefined
beforeAll(async () => {
  for (const form of FORMS) {
    const path = join(form.root, `unseal-test-${process.pid}`)
    try {
      await mkdir(path)
      await readFile(join(path, form.limit))
      group = { form, path }
      return
    } catch {
      await rmdir(path).catch(() => {})
    }
  }
  throw new Error("no memory control group can be made here: run this as root, on a machine that has them")
})
afterAll(async () => {
  for (let tries = 0; group && tries < 50; tries++)
    try {
      await rmdir(group.path)
      return
    } catch {
      await sleep(100)
    }
})

test("a worker with default settings lives within the manifest's memory limit, with eight large archives at once", async () => {
  const { resources } = objectsOf("production", "Deployment").find(
    ({ metadata }) => metadata.name === "unseal-worker",
  ).spec.template.spec.containers[0]
  const limitBytes = Number.parseInt(resources.limits.memory, 10) * MIB
  expect(limitBytes).toBe(256 * MIB)
  const { form, path } = group!
  await writeFile(join(path, form.limit), String(limitBytes))

  const system = await startSystem({ store: "s3", workers: 0, simulatorEnv: { SIMULATOR_PARALLELISM: "8" } })
  const redis = new Redis(system.redis.url)
  try {
    // The system's own way to start a worker, but within the group.
    const worker = await system.startWorker([
      "sh",
      "-c",
      `echo $$ > ${join(path, "cgroup.procs")} && exec "$@"`,
      "sh",
    ])
    await system.record({ size: 200_000_000, count: 16 })
    await expect
      .poll(async () => (await readAccounts(redis, "unseal")).committed, { timeout: 400_000, interval: 500 })
      .toBe(16)
    expect(worker.running()).toBe(true)
    expect(await readFile(join(path, form.kills), "utf8")).toMatch(/oom_kill 0/)
    const peak = Number(await readFile(join(path, form.most), "utf8")) / MIB
    const status = await readFile(`/proc/${worker.pid}/status`, "utf8")
    const resident = Number(/^VmHWM:\s+(\d+) kB/m.exec(status)![1]) / 1024
    process.stdout.write(
      `16 archives of 200 MB under a limit of 256 MiB: ${resident.toFixed(0)} MiB resident, ${peak.toFixed(0)} MiB with the page cache\n`,
    )
  } finally {
    redis.disconnect()
    await system.close()
  }
})
