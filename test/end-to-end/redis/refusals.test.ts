import { readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { runCli, startApp } from "@unseal/test/harness/process"
import { startCluster } from "@unseal/test/harness/redis/cluster"
import type { RedisServer } from "@unseal/test/harness/redis/redis"
import { startSentinel } from "@unseal/test/harness/redis/sentinel"
import { createTlsFiles, startTlsRedis, type TlsFiles } from "@unseal/test/harness/redis/tls"
import { startWorkerSystem } from "@unseal/test/harness/worker-system"
import { testWith } from "@unseal/test/harness/worker-test"
import { Redis } from "ioredis"
import { afterAll, beforeAll, describe, expect, it } from "vitest"

const PROJECT = {
  UNSEAL_PROJECT_ID: "123456",
  UNSEAL_SIGNATURE_SECRET: "0123456789abcdef0123456789abcdef",
  UNSEAL_HOST: "127.0.0.1",
  UNSEAL_ADMIN_PORT: "0",
  UNSEAL_PORT: "0",
}

/** The stderr of ingest when it exits with 2. The command line must print the same. */
async function refusal(env: Record<string, string>): Promise<string> {
  const ingest = await startApp("ingest", { env: { ...PROJECT, ...env } }).then(
    async (process) => {
      await process.stop()
      throw new Error("ingest started")
    },
    (error: Error) => error.message,
  )
  expect(ingest).toContain("ended with 2")
  const said = ingest.split("\n")[1]!
  const cli = await runCli(["queue", "status"], { env })
  expect(cli).toMatchObject({ code: 2, stderr: `unseal: ${said}\n` })
  return said
}

async function until(isSo: () => unknown, seconds = 120): Promise<void> {
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; await sleep(100))
    if (await isSo()) return
  throw new Error(`not so within ${seconds} s`)
}

const readiness = async (process: { ports: Readonly<Record<string, number>> }) =>
  (await (await fetch(`http://127.0.0.1:${process.ports.admin}/readyz`)).json()) as {
    status: string
    reasons: string[]
  }

describe("a Redis that can never be used is a configuration error at start", () => {
  let files: TlsFiles
  let server: RedisServer & { tlsPort: number }
  beforeAll(async () => {
    files = createTlsFiles()
    server = await startTlsRedis(files, { settings: ["--requirepass", "hunter2", "--databases", "4"] })
  })
  afterAll(async () => {
    await server.close()
    files.close()
  })

  it.concurrent("a wrong, missing or foreign password", async () => {
    const host = `127.0.0.1:${server.port}`
    const wrong = await refusal({ REDIS_URL: `redis://:hunter3@${host}` })
    expect(wrong).toBe(`REDIS_URL: redis://${host} refuses the password (WRONGPASS): correct it`)
    const user = await refusal({ REDIS_URL: `redis://bob:hunter3@${host}` })
    expect(user).toBe(
      `REDIS_URL: redis://bob@${host} refuses the password of user bob (WRONGPASS): correct one of them`,
    )
    const missing = await refusal({ REDIS_URL: `redis://${host}` })
    expect(missing).toBe(
      `REDIS_URL: redis://${host} needs a password, and the URL has none (NOAUTH): write redis://:PASSWORD@HOST`,
    )
  })

  it.concurrent("a database that does not exist, with the number of those that do", async () => {
    const url = `127.0.0.1:${server.port}/99`
    expect(await refusal({ REDIS_URL: `redis://:hunter2@${url}` })).toBe(
      `REDIS_URL: redis://${url} has no database 99: it has 4, from 0`,
    )
  })

  it.concurrent("TLS for a server without it, none for a server that requires it, and bad certificates", async () => {
    const [plain, tls] = [`127.0.0.1:${server.port}`, `127.0.0.1:${server.tlsPort}`]
    expect(await refusal({ REDIS_URL: `rediss://:hunter2@${plain}`, ...files.env })).toContain(
      `speaks no TLS at ${plain}`,
    )
    expect(await refusal({ REDIS_URL: `redis://:hunter2@${tls}` })).toContain(
      `speaks TLS at ${tls}: write rediss instead of redis`,
    )
    expect(await refusal({ REDIS_URL: `rediss://:hunter2@${tls}` })).toContain("name it in REDIS_TLS_CA_FILE")
    const ca = { REDIS_TLS_CA_FILE: files.ca }
    expect(await refusal({ REDIS_URL: `rediss://:hunter2@${tls}`, ...ca })).toContain(
      "refuses our certificate, or the lack of one",
    )
  })

  it.concurrent("a cluster URL for a single server, and the other way round", async () => {
    const host = `127.0.0.1:${server.port}`
    expect(await refusal({ REDIS_URL: `redis-cluster://:hunter2@${host}` })).toContain("is not a cluster")
    const cluster = await startCluster()
    try {
      const node = `redis://127.0.0.1:${cluster.servers[0]!.port}`
      expect(await refusal({ REDIS_URL: node })).toContain("is a node of a cluster: write redis-cluster://")
    } finally {
      await cluster.close()
    }
  })

  it.concurrent("sentinels that know no such master, or refuse us", async () => {
    const set = await startSentinel({ replicas: 0, sentinels: 1, sentinelPassword: "hunter4" })
    try {
      const other = set.url.replace("=mymaster", "=other")
      expect(await refusal({ REDIS_URL: other })).toContain("know no master called other")
      const unknown = set.url.replace("=hunter4", "=hunter5")
      expect(await refusal({ REDIS_URL: unknown })).toContain("has sentinels that refuse us")
    } finally {
      await set.close()
    }
  })
})

describe("a Redis that answers with refusals", () => {
  const it = testWith((system, _, defer) => {
    const admin = new Redis(system.redis.url)
    defer(async () => admin.disconnect())
    const commitsOne = async () => {
      const archive = system.make(188 * 2_000)
      await system.upload(archive)
      await until(async () => system.enqueue(archive).catch(() => null))
      await until(async () => (await system.digest(archive)) === archive.plaintextSha256)
    }
    return { admin, commitsOne }
  })

  it.concurrent.for([
    ["OOM", ["maxmemory", "100kb"], ["maxmemory", "0"]],
    ["NOREPLICAS", ["min-replicas-to-write", "1"], ["min-replicas-to-write", "0"]],
  ] as const)(
    "%s: the worker waits, says so once, and goes on",
    async ([name, begin, end], { system, at: { admin, commitsOne } }) => {
      const worker = await system.startWorker({ UNSEAL_LOCK_MS: "1000" })
      await commitsOne()
      await until(async () => (await readiness(worker)).status === "ready")
      const before = worker.log.length
      await admin.config("SET", ...begin)
      await until(async () => (await readiness(worker)).status === "not ready")
      await until(async () =>
        (await readiness(worker)).reasons.join().startsWith(`redis refuses to work: ${name}`),
      )
      // Longer than five times the lock.
      await sleep(7_000)
      expect(worker.running()).toBe(true)
      await admin.config("SET", ...end)
      await until(async () => (await readiness(worker)).status === "ready", 30)
      // Before and after, a Redis on a busy machine may be slow for a moment, which is reported as well.
      const said = (message: string) => worker.log.slice(before).filter(({ msg }) => msg === message)
      await until(() => said("redis takes work again").length > 0)
      expect(said("redis takes no work; everything waits for it")).toHaveLength(1)
      expect(said("redis takes work again")).toHaveLength(1)
      await commitsOne()
    },
  )

  it.concurrent("a password changed under running processes: not ready, and no exit", async ({
    system,
    at: { admin, commitsOne },
  }) => {
    const worker = await system.startWorker({ UNSEAL_LOCK_MS: "1000" })
    await until(async () => (await readiness(worker)).status === "ready")
    await admin.config("SET", "requirepass", "changed")
    await admin.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await until(async () => (await readiness(worker)).reasons.join().includes("NOAUTH"))
    await sleep(6_000)
    expect(worker.running()).toBe(true)
    await admin.config("SET", "requirepass", "")
    await until(async () => (await readiness(worker)).status === "ready", 30)
    await commitsOne()
  })

  it.concurrent("a Redis that is frozen for longer than many locks is waited for", async ({
    system,
    at: { commitsOne },
  }) => {
    const worker = await system.startWorker({ UNSEAL_LOCK_MS: "1000" })
    await commitsOne()
    system.redis.servers[0]!.freeze()
    try {
      await sleep(8_000)
      expect(worker.running()).toBe(true)
      expect((await readiness(worker)).status).toBe("not ready")
    } finally {
      system.redis.servers[0]!.thaw()
    }
    await commitsOne()
  })
})

describe("a user of Redis", () => {
  const page = readFileSync(join(import.meta.dirname, "../../../docs/redis.md"), "utf8")
  const rules = /ACL SETUSER unseal on >PASSWORD (.+)/.exec(page)![1]!.split(" ")

  async function asUser(more: readonly string[]) {
    const system = await startWorkerSystem()
    const admin = new Redis(system.redis.url)
    await admin.call("ACL", "SETUSER", "unseal", "on", ">pw", ...rules, ...more)
    const env = { REDIS_URL: system.redis.url.replace("//", "//unseal:pw@") }
    const close = async () => {
      admin.disconnect()
      await system.close()
    }
    return { system, env, close }
  }

  it.concurrent.for([
    ["exactly the rules of docs/redis.md", []],
    ["no INFO and no CONFIG", ["-info", "-config"]],
  ] as const)("with %s can do all the work", async ([, more]) => {
    const { system, env, close } = await asUser(more)
    try {
      const worker = await system.startWorker(env)
      const [whole, wrong] = [system.make(12_000_000), system.make(188 * 1_000)]
      await system.upload(whole)
      await system.upload({ ...wrong, ciphertext: Buffer.concat([wrong.ciphertext, Buffer.from([0])]) })
      for (const archive of [whole, wrong]) await system.enqueue(archive)
      await until(async () => (await system.digest(whole)) === whole.plaintextSha256)
      await until(() => worker.log.some(({ msg }) => msg === "archive is a dead letter"))
      await system.upload(wrong)
      await until(async () =>
        (await system.cli(["queue", "redrive", "--all"], env)).stdout.toString().includes("->"),
      )
      await until(async () => (await system.digest(wrong)) === wrong.plaintextSha256)
      const status = await system.cli(["queue", "status", "--check"], env)
      expect(status).toMatchObject({ code: 0 })
      expect(status.stderr).toBe("")
      expect((await readiness(worker)).reasons).toEqual([])
      expect(JSON.stringify(worker.log)).not.toContain("NOPERM this user has no permissions to run the 'h")
      const ingest = await startApp("ingest", { env: { ...PROJECT, ...env } })
      await until(async () => (await readiness(ingest)).status === "ready")
      await ingest.stop()
      for (const process of [worker, ingest]) {
        expect(process.stderr()).toBe("")
        const complaints = process.log.filter(({ msg }) => msg === "a library printed a warning")
        expect(complaints.length).toBe(more.length > 0 ? 1 : 0)
      }
    } finally {
      await close()
    }
  })

  it.concurrent("without a required command is named, and the process is not ready", async () => {
    const { system, env, close } = await asUser(["-zpopmin", "-copy"])
    try {
      const ingest = await startApp("ingest", { env: { ...PROJECT, ...env } })
      const reason = "redis forbids its user commands that the queue needs: copy, zpopmin"
      await until(async () => (await readiness(ingest)).reasons.includes(reason))
      const told = () => ingest.log.filter((line) => line.reason === reason)
      await until(async () => told().length > 0)
      expect(told()).toHaveLength(1)
      await ingest.stop()
      const worker = await system.startWorker(env)
      await until(async () => (await readiness(worker)).reasons.includes(reason))
    } finally {
      await close()
    }
  })
})
