/** Each process does its heaviest work within the memory that its manifest gives it. */
import { spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { Agent, createServer, request } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { readAccounts } from "@unseal/queue/accounting"
import { signCallback } from "@unseal/simulator/callbacks/send"
import { Redis } from "ioredis"
import { afterEach, expect, test } from "vitest"
import { startApp } from "../harness/process.ts"
import { startRedis } from "../harness/redis/redis.ts"
import { startSystem } from "../harness/system.ts"
import { startWorkerSystem, type WorkerSystem } from "../harness/worker-system.ts"
import { renderFirst, workloadsOf } from "../kubernetes/rendered.ts"
import { createMemoryGroup, type MemoryGroup } from "./machine/memory-group.ts"

renderFirst()

const ROOT = resolve(import.meta.dirname, "../..")
const CALLBACKS = 20_000
const PROJECTS = 1_000
const ARCHIVES = 3_000
const UPLOADS = 1_500

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (let close = closing.pop(); close !== undefined; close = closing.pop()) await close()
})

/** A group with the limit that `production` gives the workload. */
async function groupOf(workload: string): Promise<MemoryGroup & { readonly limit: string }> {
  const { container } = workloadsOf("production").find(({ object }) => object.metadata.name === workload)!
  const { limits, requests } = container.resources
  expect(requests.memory).toBe(limits.memory)
  const group = await createMemoryGroup(limits.memory)
  closing.push(() => group.close())
  return { ...group, limit: limits.memory }
}

async function expectSurvived(group: MemoryGroup & { limit: string }, what: string, resident: number | null) {
  expect(await group.kills()).toBe(0)
  const whole = `${(await group.peakMib()).toFixed(0)} MiB with the page cache`
  const rss = resident === null ? "" : `${resident.toFixed(0)} MiB resident, `
  process.stdout.write(`${what} under a limit of ${group.limit}: ${rss}${whole}\n`)
}

/** The most that a process has had in RAM, in MiB. */
async function residentMib(pid: number): Promise<number> {
  const [, kib] = /^VmHWM:\s+(\d+) kB/m.exec(await readFile(`/proc/${pid}/status`, "utf8"))!
  return Number(kib) / 1024
}

test("a worker with default settings, with eight large archives at once", async () => {
  const group = await groupOf("unseal-worker")
  expect(group.limit).toBe("256Mi")
  const system = await startSystem({ store: "s3", workers: 0, simulatorEnv: { SIMULATOR_PARALLELISM: "8" } })
  closing.push(() => system.close())
  const redis = new Redis(system.redis.url)
  closing.push(() => redis.disconnect())
  const worker = await system.startWorker(group.within)
  await system.record({ size: 200_000_000, count: 16 })
  await expect
    .poll(async () => (await readAccounts(redis, "unseal")).committed, { timeout: 400_000, interval: 500 })
    .toBe(16)
  expect(worker.running()).toBe(true)
  await expectSurvived(group, "worker, 16 archives of 200 MB", await residentMib(worker.pid))
})

test("ingest, with callbacks of a thousand projects on 64 connections", async () => {
  const group = await groupOf("unseal-ingest")
  const directory = await mkdtemp(join(tmpdir(), "unseal-memory-"))
  closing.push(() => rm(directory, { recursive: true }))
  const redis = await startRedis()
  closing.push(() => redis.close())
  const secrets = Array.from({ length: PROJECTS }, (_, index) => `secret-of-the-project-${index}`)
  const projects = secrets.map((_, index) => ({
    ...{ id: String(100_000 + index), signatureSecretFile: join(directory, `${index}.signature`) },
    ...{ source: "s3://recordings?region=eu-central-1", destination: "s3://decrypted?region=eu-central-1" },
    keys: "/nonexistent",
  }))
  for (const [index, { signatureSecretFile }] of projects.entries())
    await writeFile(signatureSecretFile, secrets[index]!, { mode: 0o600 })
  await writeFile(join(directory, "projects.json"), JSON.stringify({ projects }), { mode: 0o600 })
  const ingest = await startApp("ingest", {
    env: {
      ...{ REDIS_URL: redis.url, UNSEAL_HOST: "127.0.0.1", UNSEAL_PORT: "0", UNSEAL_ADMIN_PORT: "0" },
      ...{ UNSEAL_PROJECTS_FILE: join(directory, "projects.json"), LOG_LEVEL: "warn" },
    },
    within: group.within,
  })
  closing.push(() => ingest.stop())
  const agent = new Agent({ keepAlive: true, maxSockets: 64 })
  closing.push(() => agent.destroy())
  const statuses = new Map<number, number>()
  let next = 0
  const lane = async () => {
    while (next < CALLBACKS) {
      const project = next++ % PROJECTS
      const { id } = projects[project]!
      const body = JSON.stringify({
        ...{ id: randomUUID(), event: "archive", status: "uploaded", partnerId: Number(id), size: 5_000_000 },
        password: Buffer.alloc(256, 7).toString("base64"),
      })
      const status = await post(agent, ingest.ports.http!, `/callbacks/${id}`, body, secrets[project]!)
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
  }
  await Promise.all(Array.from({ length: 64 }, lane))
  expect(Object.fromEntries(statuses)).toEqual({ 202: CALLBACKS })
  expect(ingest.running()).toBe(true)
  const what = `ingest, ${CALLBACKS} callbacks of ${PROJECTS} projects`
  await expectSurvived(group, what, await residentMib(ingest.pid))
})

async function post(agent: Agent, port: number, path: string, body: string, secret: string) {
  const headers = {
    "content-type": "application/json",
    authorization: `Bearer ${await signCallback(body, secret)}`,
  }
  const sent = request({ agent, host: "127.0.0.1", port, path, method: "POST", headers })
  sent.end(body)
  const [answer] = await once(sent, "response")
  answer.resume()
  await once(answer, "end")
  return answer.statusCode as number
}

/** Runs `unseal ARGS` within the group. Resolves to what it prints as JSON. */
async function cli(system: WorkerSystem, group: MemoryGroup, args: string[], env: Record<string, string>) {
  const [program, ...rest] = [
    ...[...group.within, process.execPath, join(ROOT, "apps/cli/bin/unseal.mjs")],
    ...[...args, "--json"],
  ]
  const child = spawn(program!, rest, {
    env: { PATH: process.env.PATH, ...system.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  })
  let [stdout, stderr] = ["", ""]
  child.stdout.setEncoding("utf8").on("data", (text) => {
    stdout += text
  })
  child.stderr.setEncoding("utf8").on("data", (text) => {
    stderr += text
  })
  const [code] = await once(child, "close")
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) })
  return JSON.parse(stdout)
}

test("reconcile, with a list of thousands of archives", async () => {
  const group = await groupOf("unseal-reconcile")
  const system = await startWorkerSystem()
  closing.push(() => system.close())
  const { encryptedPassword: password } = system.make(1_600)
  const createdAt = Date.now() - 3_600_000
  const items = Array.from({ length: ARCHIVES }, (_, index) => ({
    ...{ id: randomUUID(), status: "uploaded", event: "archive", partnerId: 123456, projectId: 123456 },
    ...{ size: 5_000_000, password, createdAt: createdAt - index * 1_000, name: "a lesson", url: null },
  }))
  const vendor = createServer(({ url }, response) => {
    const query = new URL(url!, "http://vendor").searchParams
    const offset = Number(query.get("offset") ?? 0)
    const page = items.slice(offset, offset + Number(query.get("count") ?? 50))
    response.writeHead(200, { "content-type": "application/json" })
    response.end(JSON.stringify({ count: items.length, items: page }))
  })
  await once(vendor.listen(0, "127.0.0.1"), "listening")
  closing.push(() => vendor.close())
  const { projects } = await cli(system, group, ["archives", "reconcile"], {
    UNSEAL_API_SECRET: "api-secret",
    UNSEAL_API_URL: `http://127.0.0.1:${(vendor.address() as AddressInfo).port}`,
  })
  expect(projects[0]).toMatchObject({ encrypted: ARCHIVES })
  expect(projects[0].enqueued).toHaveLength(ARCHIVES)
  await expectSurvived(group, `reconcile, ${ARCHIVES} archives`, null)
})

test("the janitor, with thousands of open uploads", async () => {
  const group = await groupOf("unseal-janitor")
  const system = await startWorkerSystem()
  closing.push(() => system.close())
  const signal = AbortSignal.timeout(600_000)
  const create = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const
  for (let index = 0; index < UPLOADS; index++)
    await system.destination.create(`123456/${randomUUID()}/archive.ts`, 20_000_000, create, signal)
  const { stores } = await cli(system, group, ["janitor", "--older-than", "1s"], {})
  expect(stores[0].open).toBe(UPLOADS)
  expect(stores[0].aborted.length + stores[0].young).toBe(UPLOADS)
  await expectSurvived(group, `janitor, ${UPLOADS} open uploads`, null)
})
