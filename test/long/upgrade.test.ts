import { type ChildProcess, execFile, spawn } from "node:child_process"
import { hash } from "node:crypto"
import { once } from "node:events"
import { mkdir, mkdtemp, readdir, rm, symlink } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { createInterface } from "node:readline"
import { promisify } from "node:util"
import { readSmallObject } from "@unseal/archive/store/small-object"
import { readAccounts } from "@unseal/queue/accounting"
import { readBacklog } from "@unseal/queue/backlog"
import { Redis } from "ioredis"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type System, startSystem } from "../harness/system.ts"

const ROOT = resolve(import.meta.dirname, "../..")
/** The last code before jobs had their bytes in Redis. */
const EARLIER = "b05c547"
const SIZE = 3_000_000
const QUEUE = "unseal"
const run = promisify(execFile)

let directory: string
let system: System
let redis: Redis
const children: ChildProcess[] = []

/** The earlier code, with the packages that are installed here, except the workspaces' own. */
async function checkOut(): Promise<void> {
  const tar = join(directory, "code.tar")
  await run("git", ["-C", ROOT, "archive", "--output", tar, EARLIER])
  await run("tar", ["-xf", tar, "-C", directory])
  const modules = join(directory, "node_modules")
  await mkdir(join(modules, "@unseal"), { recursive: true })
  for (const name of await readdir(join(ROOT, "node_modules")))
    if (name !== "@unseal" && name !== ".cache")
      await symlink(join(ROOT, "node_modules", name), join(modules, name))
  for (const kind of ["packages", "apps"])
    for (const name of await readdir(join(directory, kind)))
      await symlink(join(directory, kind, name), join(modules, "@unseal", name))
}

/** Starts a process of the earlier code, and resolves to its ports. */
async function startEarlier(
  name: "ingest" | "worker",
  env: Record<string, string>,
): Promise<Record<string, number>> {
  const child = spawn(process.execPath, [join(directory, "apps", name, "src/main.ts")], {
    cwd: directory,
    env: {
      PATH: process.env.PATH,
      ...env,
      UNSEAL_HOST: "127.0.0.1",
      UNSEAL_ADMIN_PORT: "0",
      UNSEAL_PROJECT_ID: system.projectId,
    },
    stdio: ["ignore", "pipe", "inherit"],
  })
  children.push(child)
  for await (const line of createInterface({ input: child.stdout! })) {
    const { msg, ports } = JSON.parse(line)
    if (msg === "listening") return ports
  }
  throw new Error(`the earlier ${name} ended before it listened`)
}

async function stopEarlier(): Promise<void> {
  for (const child of children.splice(0)) {
    child.kill("SIGTERM")
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit")
  }
}

const earlierWorker = () =>
  startEarlier("worker", {
    ...system.env,
    UNSEAL_SOURCE: system.stores.source,
    UNSEAL_DESTINATION: system.stores.destination,
    UNSEAL_KEYS: dirname(system.keyFile),
  })

async function loseCallbacks(all: boolean): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${system.simulator.ports.control}/bad-day`, {
    method: "PATCH",
    body: JSON.stringify({ loseCallbacksEvery: all ? 1 : 0 }),
  })
  expect(response.status).toBe(200)
}

/** Records archives, and tells nobody. */
async function recordQuietly(count: number): Promise<string[]> {
  const before = new Set((await system.archives()).map(({ id }) => id))
  await loseCallbacks(true)
  await system.record({ size: SIZE, count })
  const fresh = async () =>
    (await system.archives()).filter(({ id, size }) => !before.has(id) && size !== null)
  await expect.poll(async () => (await fresh()).length, { timeout: 120_000 }).toBe(count)
  await loseCallbacks(false)
  return (await fresh()).map(({ id }) => id)
}

async function callBack(port: number, id: string): Promise<void> {
  const { recording } = await system.archive(id)
  const response = await fetch(`http://127.0.0.1:${port}/callbacks/${system.projectId}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      ...{ id, event: "archive", status: "uploaded", partnerId: Number(system.projectId) },
      ...{ size: recording.size, password: recording.encryptedPassword },
    }),
  })
  expect(response.status).toBe(202)
}

const accounts = () => readAccounts(redis, QUEUE)
const COMMITS = { timeout: 180_000, interval: 250 }

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-earlier-"))
  await checkOut()
  system = await startSystem({ store: "s3", workers: 0 })
  redis = new Redis(system.redis.url)
})
afterAll(async () => {
  await stopEarlier()
  redis?.disconnect()
  await system?.close()
  await rm(directory, { recursive: true, force: true })
})

test("jobs of the earlier version are decrypted after the upgrade, by new and old workers side by side, and before a rollback", async () => {
  const ingest = await startEarlier("ingest", {
    ...{ ...system.env, UNSEAL_PORT: "0" },
    ...{ UNSEAL_CALLBACK_AUTH: "none", UNSEAL_ALLOW_UNAUTHENTICATED: "1" },
  })
  const ids = await recordQuietly(6)
  for (const id of ids) await callBack(ingest.http!, id)
  expect(await accounts()).toMatchObject({ accepted: 6, live: 6 })
  // Not known, so not counted.
  expect(await readBacklog(redis, QUEUE)).toMatchObject({ waitingBytes: 0 })

  await system.startWorker()
  await expect.poll(async () => (await accounts()).committed, COMMITS).toBe(6)

  await earlierWorker()
  await system.record({ size: SIZE, count: 12 })
  await expect.poll(async () => (await accounts()).committed, COMMITS).toBe(18)

  // The rollback: only the earlier worker is left, and the new ingest enqueues.
  for (const worker of system.workers) await worker.stop()
  await system.record({ size: SIZE, count: 4 })
  await expect.poll(async () => (await accounts()).committed, COMMITS).toBe(22)
  await stopEarlier()

  expect(await accounts()).toMatchObject({ accepted: 22, committed: 22, deadLetters: 0, live: 0, missing: 0 })
  // What the earlier workers ended is no backlog, once nothing waits.
  expect(await readBacklog(redis, QUEUE)).toEqual({
    waitingBytes: 0,
    waitingBulkBytes: 0,
    activeBytes: 0,
    delayedBytes: 0,
    isPaused: false,
  })
  for (const { id, key } of await system.archives()) {
    const { sha256 } = await system.archive(id)
    const signal = AbortSignal.timeout(60_000)
    const object = (await system.destination.stat(key, signal))!
    const plaintext = await readSmallObject(system.destination, object, 2 * SIZE, signal)
    expect(hash("sha256", plaintext)).toBe(sha256.plaintext)
  }
})
