/** A Redis refuses to work: ingest answers 503, the worker waits, both name Redis' error, and both recover by themselves. */
import { randomUUID } from "node:crypto"
import { signCallback } from "@unseal/simulator/callbacks/send"
import { type AppProcess, startApp } from "@unseal/test/harness/process"
import { type RedisRelay, startRedisRelay } from "@unseal/test/harness/redis/relay"
import { startWorkerSystem, type WorkerSystem } from "@unseal/test/harness/worker-system"
import { afterAll, afterEach, beforeAll, expect, it } from "vitest"

const SECRET = "0123456789abcdef0123456789abcdef"
const POLL = { timeout: 60_000, interval: 100 }

let system: WorkerSystem
let relay: RedisRelay
let ingest: AppProcess
let worker: AppProcess
beforeAll(async () => {
  system = await startWorkerSystem()
  const { port } = system.redis.servers[0]!
  relay = await startRedisRelay(() => port)
  const env = { REDIS_URL: relay.url, UNSEAL_PROJECT_ID: "123456", UNSEAL_SIGNATURE_SECRET: SECRET }
  ingest = await startApp("ingest", {
    env: { ...env, UNSEAL_HOST: "127.0.0.1", UNSEAL_ADMIN_PORT: "0", UNSEAL_PORT: "0" },
  })
  worker = await system.startWorker(env)
}, 120_000)
afterEach(() => {
  relay.answer(() => "pass")
  relay.cut()
})
afterAll(async () => {
  await ingest?.stop()
  await system?.close()
  await relay?.close()
})

const reasons = async ({ ports }: AppProcess): Promise<string> => {
  const response = await fetch(`http://127.0.0.1:${ports.admin}/readyz`)
  return ((await response.json()) as { reasons: string[] }).reasons.join()
}

async function call(archiveId: string, encryptedPassword: string, size: number): Promise<Response> {
  const body = JSON.stringify({
    ...{ id: archiveId, event: "archive", status: "uploaded", createdAt: Date.now(), duration: 1 },
    ...{ partnerId: 123456, name: "", reason: "", sessionId: "2_MX4", size, password: encryptedPassword },
  })
  const authorization = `Bearer ${await signCallback(body, SECRET)}`
  const headers = { "content-type": "application/json", authorization }
  return fetch(`http://127.0.0.1:${ingest.ports.http}/callbacks/123456`, { method: "POST", body, headers })
}

/** Commands of a new connection, which Redis answers even in trouble. */
const HANDSHAKE = new Set([
  "hello",
  "client",
  "select",
  "ping",
  "info",
  "config",
  "acl",
  "command",
  "cluster",
])

it.each([
  [
    "MISCONF",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
  ],
  ["LOADING", "LOADING Redis is loading the dataset in memory"],
  ["READONLY", "READONLY You can't write against a read only replica."],
  ["CLUSTERDOWN", "CLUSTERDOWN The cluster is down"],
  ["MASTERDOWN", "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."],
  ["TRYAGAIN", "TRYAGAIN Multiple keys request during rehashing of slot"],
  ["NOREPLICAS", "NOREPLICAS Not enough good replicas to write."],
])("%s", { timeout: 240_000 }, async (name, text) => {
  for (const process of [ingest, worker]) await expect.poll(() => reasons(process), POLL).toBe("")
  relay.answer((command) => {
    if (HANDSHAKE.has(command) || command === "multi" || command === "discard") return "pass"
    const error = command === "exec" ? "EXECABORT Transaction discarded because of previous errors." : text
    return { reply: `-${error}\r\n` }
  })
  for (const process of [ingest, worker])
    await expect.poll(() => reasons(process), POLL).toContain(`redis refuses to work: ${name}`)
  const archive = system.make(188 * 2_000)
  await system.upload(archive)
  const refused = await call(archive.archiveId, archive.encryptedPassword, archive.ciphertext.length)
  expect(refused.status).toBe(503)
  expect(refused.headers.get("retry-after")).toMatch(/^\d+$/)
  expect([ingest.running(), worker.running()]).toEqual([true, true])

  relay.answer(() => "pass")
  // Here, a refusal within a transaction has left it open.
  relay.cut()
  for (const process of [ingest, worker]) await expect.poll(() => reasons(process), POLL).toBe("")
  // The vendor's next attempt.
  await expect
    .poll(
      async () =>
        (await call(archive.archiveId, archive.encryptedPassword, archive.ciphertext.length)).status,
      POLL,
    )
    .toBe(202)
  await expect.poll(() => system.digest(archive), POLL).toBe(archive.plaintextSha256)
})

it("no room for another client", { timeout: 240_000 }, async () => {
  for (const process of [ingest, worker]) await expect.poll(() => reasons(process), POLL).toBe("")
  await system.client.call("CONFIG", "SET", "maxclients", "1")
  // The test's own connections stay. Those of the relay reconnect, and find no room.
  relay.cut()
  for (const process of [ingest, worker])
    await expect.poll(() => reasons(process), POLL).toContain("redis is not connected")
  expect((await call(randomUUID(), "d3JhcHBlZA==", 1_000)).status).toBe(503)
  expect([ingest.running(), worker.running()]).toEqual([true, true])
  await system.client.call("CONFIG", "SET", "maxclients", "1000")
  for (const process of [ingest, worker]) await expect.poll(() => reasons(process), POLL).toBe("")
})
