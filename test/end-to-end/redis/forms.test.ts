import { setTimeout as sleep } from "node:timers/promises"
import { findUploadOwners } from "@unseal/queue/jobs/upload-owners"
import { queueStatus } from "@unseal/queue/status"
import { runCli } from "@unseal/test/harness/process"
import { REDIS_FORMS } from "@unseal/test/harness/redis/form"
import { startSystem } from "@unseal/test/harness/system"
import { startWorkerSystem } from "@unseal/test/harness/worker-system"
import { describe, expect, it } from "vitest"

async function until(isSo: () => Promise<boolean>, seconds = 60): Promise<void> {
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; await sleep(200))
    if (await isSo()) return
  throw new Error(`not so within ${seconds} s`)
}

const MB = 1024 * 1024

describe.each(REDIS_FORMS.filter((form) => form !== "plain"))("a Redis in the form %s", (form) => {
  it("carries archives, a dead letter, its redrive, checkpoints and the command line", async () => {
    const system = await startWorkerSystem({ redis: form })
    try {
      const { client } = system
      const [whole, wrong] = [system.make(6 * MB), system.make(188 * 1_000)]
      await system.upload(whole)
      await system.upload({ ...wrong, ciphertext: Buffer.concat([wrong.ciphertext, Buffer.from([0])]) })
      await system.startWorker({ UNSEAL_PARTS_IN_FLIGHT: "2", UNSEAL_PART_SIZE_BYTES: String(5 * MB) })
      await system.enqueue(whole)
      await system.enqueue(wrong)
      const jobs = async () => (await queueStatus(client, "unseal")).jobs
      await until(async () => (await jobs()).completed === 1 && (await jobs()).failed === 1)
      expect(await system.digest(whole)).toBe(whole.plaintextSha256)

      await system.upload(wrong)
      const listed = await system.cli(["queue", "dead-letters", "--json"])
      expect(listed.stderr).not.toContain("Error")
      expect(JSON.parse(listed.stdout.toString())).toHaveLength(1)
      const redriven = await system.cli(["queue", "redrive", "--all"])
      expect(redriven.code).toBe(0)
      await until(async () => (await jobs()).completed === 2)
      expect(await system.digest(wrong)).toBe(wrong.plaintextSha256)

      const status = await system.cli(["queue", "status", "--check"])
      expect(status.stdout.toString()).toContain("2 = 2 committed + 0 dead letters + 0 live")
      expect(status.code).toBe(0)
      const doctor = (await system.cli(["doctor"])).stdout.toString()
      expect(doctor).toMatch(/^ok +redis +\d+\.\d+\.\d+, .*takes every command of the queue/m)
      expect(doctor).toMatch(/^ok +redis durability /m)
      if (form !== "tls") expect(doctor).toMatch(/^warning +redis replicas .*a failover loses/m)
      const owners = await findUploadOwners(
        client,
        "unseal",
        new Set([whole.key]),
        AbortSignal.timeout(5_000),
      )
      expect(await owners.isOwned(whole.key)).toBe(false)

      if (!form.endsWith("-tls")) return
      // The next master is found and used in the same way. Without TLS, the test below does this under load.
      await system.redis.failover("unseal")
      const next = system.make(188 * 1_000)
      await system.upload(next)
      await until(() => system.enqueue(next).then(Boolean, () => false))
      await until(async () => (await system.digest(next)) === next.plaintextSha256)
    } finally {
      await system.close()
    }
  })
})

describe.each(["sentinel", "cluster"] as const)("a failover of a %s under load", (form) => {
  it("loses nothing that was acknowledged, and keeps the accounts right", async () => {
    const system = await startSystem({
      store: "file",
      workers: 2,
      redis: form,
      // Otherwise what was acknowledged just before the kill is lost.
      ingestEnv: { UNSEAL_REDIS_REPLICAS: "1" },
      workerEnv: { UNSEAL_LOCK_MS: "5000", UNSEAL_STALL_CHECK_MS: "1000" },
    })
    try {
      await system.record({ size: 2 * MB, count: 30 })
      const uploaded = async () =>
        (await system.archives()).filter(({ callbacks }) =>
          callbacks.some(({ status, outcome }) => status === "uploaded" && outcome === "accepted"),
        ).length
      await until(async () => (await uploaded()) >= 5)
      // The replicas lack the last seconds of the master that dies.
      await system.redis.failover("unseal", "behind")
      await system.record({ size: 2 * MB, count: 10 })
      await until(async () => (await uploaded()) === 40, 120)
      const committed = () =>
        new Set(
          system.workers.flatMap(({ log }) =>
            log.filter(({ msg }) => msg === "archive committed").map(({ archiveId }) => archiveId),
          ),
        ).size
      const isEmpty = async () => {
        const { stdout } = await runCli(["queue", "status", "--json"], { env: system.env })
        const { jobs } = JSON.parse(stdout.toString() || "{}")
        return jobs && jobs.waiting + jobs.active + jobs.delayed === 0
      }
      await until(async () => committed() === 40 && (await isEmpty()), 60)
      const status = await runCli(["queue", "status"], { env: system.env })
      expect(status.stdout.toString()).toMatch(/accepted +40 = 40 committed \+ 0 dead letters \+ 0 live\n/)
    } finally {
      await system.close()
    }
  })
})
