/** All sentinels are away, so the master is unknown. Everything says so, ends in time, and continues when they are back. */
import { randomUUID } from "node:crypto"
import { signCallback } from "@unseal/simulator/callbacks/send"
import { type AppProcess, startApp } from "@unseal/test/harness/process"
import { type Archive, startWorkerSystem, type WorkerSystem } from "@unseal/test/harness/worker-system"
import { afterAll, beforeAll, expect, test } from "vitest"

const SECRET = "0123456789abcdef0123456789abcdef"
const FOREIGN = { archiveId: randomUUID(), encryptedPassword: "d3JhcHBlZA==" }
const SOON = { timeout: 60_000, interval: 100 }

let system: WorkerSystem
const started: AppProcess[] = []
beforeAll(async () => {
  system = await startWorkerSystem({ redis: "sentinel" })
}, 120_000)
afterAll(async () => {
  for (const app of started) await app.stop()
  await system?.close()
})

async function start(): Promise<{ ingest: AppProcess; worker: AppProcess }> {
  const ingest = await startApp("ingest", {
    env: {
      ...{ ...system.redis.env, UNSEAL_PROJECT_ID: "123456", UNSEAL_SIGNATURE_SECRET: SECRET },
      ...{ UNSEAL_HOST: "127.0.0.1", UNSEAL_ADMIN_PORT: "0", UNSEAL_PORT: "0" },
    },
  })
  started.push(ingest)
  return { ingest, worker: await system.startWorker() }
}

const reasons = async ({ ports }: AppProcess): Promise<string> => {
  const response = await fetch(`http://127.0.0.1:${ports.admin}/readyz`)
  return ((await response.json()) as { reasons: string[] }).reasons.join()
}

/** The status of the answer to an archive's callback. */
async function call(
  { ports }: AppProcess,
  archive: Pick<Archive, "archiveId" | "encryptedPassword"> = FOREIGN,
) {
  const { archiveId, encryptedPassword } = archive
  const body = JSON.stringify({
    ...{ id: archiveId, event: "archive", status: "uploaded", createdAt: Date.now(), duration: 1 },
    ...{ partnerId: 123456, name: "", reason: "", sessionId: "2_MX4", size: 376_000 },
    password: encryptedPassword,
  })
  const headers = {
    "content-type": "application/json",
    authorization: `Bearer ${await signCallback(body, SECRET)}`,
  }
  const url = `http://127.0.0.1:${ports.http}/callbacks/123456`
  const startedAt = performance.now()
  const { status } = await fetch(url, { method: "POST", body, headers })
  return { status, ms: performance.now() - startedAt }
}

const unanswered = () => {
  const [, hosts] = /@([^/]+)\//.exec(system.redis.url)!
  return `none of the sentinels answers: ${hosts!.replaceAll(",", ", ")}`
}
/** The log lines about it. */
const complaints = ({ log }: AppProcess) =>
  log.filter(({ msg, err }) => msg === "redis connection failed" && (err as Error).message === unanswered())

/** Both report that they wait, and why. Callbacks and commands end in time. No process has ended by itself. */
async function expectWaiting(
  { ingest, worker }: { ingest: AppProcess; worker: AppProcess },
  time: number,
): Promise<void> {
  for (const app of [ingest, worker]) {
    await expect.poll(() => reasons(app), SOON).toContain("redis is not connected")
    await expect.poll(() => complaints(app).length, SOON).toBeGreaterThanOrEqual(time)
    expect(app.running()).toBe(true)
  }
  expect(await call(ingest)).toMatchObject({ status: 503 })
}

/** A callback is accepted, and its archive is decrypted. */
async function expectWorking({ ingest, worker }: { ingest: AppProcess; worker: AppProcess }): Promise<void> {
  for (const app of [ingest, worker]) await expect.poll(() => reasons(app), SOON).toBe("")
  const archive = system.make(376_000)
  await system.upload(archive)
  await expect.poll(async () => (await call(ingest, archive)).status, SOON).toBe(202)
  await expect.poll(() => system.digest(archive), SOON).toBe(archive.plaintextSha256)
}

test("when processes start, and when their connections are cut", { timeout: 240_000 }, async () => {
  const sentinels = system.redis.sentinel!
  await sentinels.stopSentinels()
  const processes = await start()
  await expectWaiting(processes, 1)
  const { code, stderr } = await system.cli(["queue", "status"])
  expect({ code, stderr }).toEqual({
    code: 3,
    stderr: `unseal: redis did not answer within 5 s: ${unanswered()}\n`,
  })
  await sentinels.startSentinels()
  await expectWorking(processes)

  await sentinels.stopSentinels()
  // Nobody misses them before.
  expect((await call(processes.ingest)).status).toBe(202)
  await system.client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
  await expectWaiting(processes, 2)
  await sentinels.startSentinels()
  await expectWorking(processes)
})
