import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { type AddressInfo, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { queueKey } from "@unseal/queue/names"
import { createLogger } from "@unseal/service/log/logger"
import { connectRedis } from "@unseal/service/redis/redis"
import { type RedisServer, startRedis } from "@unseal/test/harness/redis/redis"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { ARCHIVE_ID, PASSWORD, SECRET, sign, uploaded } from "../../../test/harness/ingest/ingest-app.ts"

const MAIN = fileURLToPath(new URL("../bin/unseal-ingest.mjs", import.meta.url))
const BODY = JSON.stringify(uploaded({ partnerId: 123_456 }))

let redis: RedisServer
let directory: string
const children: ChildProcess[] = []
beforeAll(async () => {
  redis = await startRedis()
  directory = mkdtempSync(join(tmpdir(), "unseal-ingest-"))
  writeFileSync(join(directory, "secret"), `${SECRET}\n`)
})
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL")
})
afterAll(async () => {
  await redis.close()
  rmSync(directory, { recursive: true, force: true })
})

/** Runs the process with only `env` and a PATH. */
function run(env: Record<string, string>) {
  const child = spawn(process.execPath, [MAIN], {
    env: {
      PATH: process.env.PATH,
      UNSEAL_HOST: "127.0.0.1",
      UNSEAL_PORT: "0",
      UNSEAL_ADMIN_PORT: "0",
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  })
  children.push(child)
  const lines: Record<string, unknown>[] = []
  let complaints = ""
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(JSON.parse(line)))
  child.stderr.on("data", (chunk) => {
    complaints += chunk
  })
  return {
    child,
    lines,
    complaints: () => complaints,
    async end(): Promise<number | null> {
      if (child.exitCode === null) await once(child, "close")
      return child.exitCode
    },
  }
}

async function until<T>(what: string, probe: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (let tries = 0; tries < 600; tries++) {
    const found = await probe()
    if (found !== undefined) return found
    await sleep(50)
  }
  throw new Error(`waited in vain for ${what}`)
}

async function startIngest(env: Record<string, string> = {}) {
  const process = run({
    REDIS_URL: redis.url,
    UNSEAL_PROJECT_ID: "123456",
    UNSEAL_SIGNATURE_SECRET_FILE: join(directory, "secret"),
    UNSEAL_QUEUE: `q${Math.random().toString(36).slice(2)}`,
    ...env,
  })
  const { ports } = await until("listening", () => {
    if (process.child.exitCode !== null) throw new Error(`ended: ${process.complaints()}`)
    return process.lines.find(({ msg }) => msg === "listening") as
      | { ports: Record<string, number> }
      | undefined
  })
  const base = `http://127.0.0.1:${ports.http}`
  const admin = `http://127.0.0.1:${ports.admin}`
  return {
    ...process,
    admin,
    post: async (body = BODY) =>
      fetch(`${base}/callbacks/123456`, {
        method: "POST",
        body,
        headers: { "content-type": "application/json", authorization: await sign(body) },
      }),
    isReady: () =>
      until("readiness", async () => ((await fetch(`${admin}/readyz`)).status === 200 ? true : undefined)),
  }
}

describe("the ingest process", () => {
  it("exits with 1 at a Redis that may lose acknowledged writes, unless the risk is accepted", async () => {
    const risky = await startRedis({ appendfsync: "everysec" })
    try {
      const refusing = run({
        ...{ REDIS_URL: risky.url, UNSEAL_PROJECT_ID: "123456" },
        UNSEAL_SIGNATURE_SECRET_FILE: join(directory, "secret"),
      })
      expect(await refusing.end()).toBe(1)
      expect(JSON.stringify(refusing.lines.at(-1))).toContain("appendfsync is everysec, not always")

      const daring = await startIngest({ REDIS_URL: risky.url, UNSEAL_REDIS_DURABILITY: "warn" })
      expect((await until("an answer", () => daring.post())).status).toBe(202)
    } finally {
      await risky.close()
    }
  })

  it("puts a signed callback into Redis once, however often it comes, and stops with 0", async () => {
    const queue = `q${Math.random().toString(36).slice(2)}`
    const ingest = await startIngest({ UNSEAL_QUEUE: queue })
    await ingest.isReady()
    const answers = await Promise.all(Array.from({ length: 50 }, () => ingest.post()))
    expect(answers.map(({ status }) => status).sort()).toEqual([...Array(49).fill(200), 202])
    const bodies = (await Promise.all(answers.map((response) => response.json()))) as {
      outcome: string
      jobId: string
    }[]
    const { jobId } = bodies[0]!
    const again = (await (await ingest.post()).json()) as object
    expect(again).toMatchObject({
      ...{ outcome: "duplicate", jobId },
      of: { state: "live", since: expect.stringMatching(/^\d{4}-.*Z$/) },
    })

    const client = connectRedis({ REDIS_URL: redis.url }, "consumer", createLogger("test", "silent"))
    const stored = await client.hget(queueKey(queue, jobId), "data")
    client.disconnect()
    expect(JSON.parse(stored ?? "")).toMatchObject({
      projectId: "123456",
      archiveId: ARCHIVE_ID,
      encryptedPassword: PASSWORD,
      status: "uploaded",
    })

    const metrics = await (await fetch(`${ingest.admin}/metrics`)).text()
    expect(metrics).toContain('unseal_callbacks_total{project="123456",outcome="enqueued"} 1')
    expect(metrics).toContain('unseal_callbacks_total{project="123456",outcome="duplicate"} 50')

    ingest.child.kill("SIGTERM")
    expect(await ingest.end()).toBe(0)
    expect(ingest.lines.at(-1)?.msg).toBe("stopped")
    expect(ingest.complaints()).toBe("")
    expect(JSON.stringify(ingest.lines)).not.toMatch(new RegExp(`${PASSWORD}|${SECRET}`))
  })

  it("starts without Redis, answers 503 and not ready, and recovers by itself", async () => {
    const own = await startRedis()
    try {
      await own.stop()
      const ingest = await startIngest({ REDIS_URL: own.url })
      expect((await fetch(`${ingest.admin}/healthz`)).status).toBe(200)
      const notReady = await fetch(`${ingest.admin}/readyz`)
      expect(notReady.status).toBe(503)
      expect(await notReady.json()).toMatchObject({
        reasons: [expect.stringContaining("redis is not connected")],
      })
      const refused = await ingest.post()
      expect(refused.status).toBe(503)
      expect(refused.headers.get("retry-after")).toMatch(/^\d+$/)

      await own.restart()
      await ingest.isReady()
      expect((await ingest.post()).status).toBe(202)
      ingest.child.kill("SIGTERM")
      expect(await ingest.end()).toBe(0)
    } finally {
      await own.close()
    }
  })

  it("answers 503 while Redis is frozen, and still stops with 0", async () => {
    const own = await startRedis()
    try {
      const ingest = await startIngest({ REDIS_URL: own.url })
      await ingest.isReady()
      process.kill(own.pid, "SIGSTOP")
      const answers = await Promise.all([ingest.post(), ingest.post()])
      expect(answers.map(({ status }) => status)).toEqual([503, 503])
      process.kill(own.pid, "SIGCONT")
      const landed = await until("recovery", async () => {
        const response = await ingest.post()
        return response.status === 503 ? undefined : response.status
      })
      // Callbacks that were answered 503 may have landed. That makes the sender's retry harmless.
      expect([200, 202]).toContain(landed)
      process.kill(own.pid, "SIGSTOP")
      ingest.child.kill("SIGTERM")
      expect(await ingest.end()).toBe(0)
    } finally {
      process.kill(own.pid, "SIGCONT")
      await own.close()
    }
  })

  it("lists everything wrong with its configuration, connects nowhere and exits with 2", async () => {
    let connections = 0
    const server = createServer(() => connections++).listen(0, "127.0.0.1")
    await once(server, "listening")
    const ingest = run({
      REDIS_URL: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
      UNSEAL_PORT: "http",
      UNSEAL_CONCURENCY: "4",
      UNSEAL_PROJECT_ID: "x",
      UNSEAL_CALLBACK_AUTH: "none",
    })
    expect(await ingest.end()).toBe(2)
    server.close()
    expect(ingest.complaints().trimEnd().split("\n")).toEqual([
      "UNSEAL_CONCURENCY is not a setting: did you mean UNSEAL_CONCURRENCY?",
      'UNSEAL_PORT must be a whole number from 0 to 65535, not "http"',
      "UNSEAL_PROJECT_ID must be an OpenTok API key (digits) or a Vonage application id (UUID)",
      "UNSEAL_CALLBACK_AUTH is none, so anybody could submit callbacks: set UNSEAL_ALLOW_UNAUTHENTICATED=1 if you want that",
    ])
    expect(ingest.lines).toEqual([])
    expect(connections).toBe(0)
  })

  it("exits with 2 when its port is taken, and names the setting", async () => {
    const server = createServer().listen(0, "127.0.0.1")
    await once(server, "listening")
    const ingest = run({
      REDIS_URL: redis.url,
      UNSEAL_PROJECT_ID: "123456",
      UNSEAL_SIGNATURE_SECRET: "s".repeat(32),
      UNSEAL_PORT: String((server.address() as AddressInfo).port),
    })
    expect(await ingest.end()).toBe(2)
    server.close()
    expect(ingest.complaints()).toMatch(/^UNSEAL_PORT: port \d+ is taken by another process: /)
  })
})
