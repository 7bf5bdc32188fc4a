/** Two workers. One was never given what it needs. */
import { randomUUID } from "node:crypto"
import { copyFile, link, mkdir, mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath, pathToFileURL } from "node:url"
import { readAccounts } from "@unseal/queue/accounting"
import { createProducer } from "@unseal/queue/enqueue/producer"
import { createJobPayload } from "@unseal/queue/jobs/job"
import { queueKey } from "@unseal/queue/names"
import { createLogger } from "@unseal/service/log/logger"
import { createRegistry } from "@unseal/service/metrics"
import { connectRedis } from "@unseal/service/redis/redis"
import { expect, test } from "vitest"
import { startRedis } from "../../../../test/harness/redis/redis.ts"
import { readConfig } from "../config.ts"
import { createWorker, standsAside } from "../worker.ts"

const VECTOR = fileURLToPath(new URL("../../../../test/vectors/openssl-pkcs7/", import.meta.url))
const PROJECT = "100001"
const QUEUE = "stand-aside"

test.concurrent.for([
  ["keys", "ERR_KEY_SERVICE_UNAVAILABLE"],
  ["destination", "ERR_STORE_DENIED"],
] as const)(
  "a worker without %s stands aside, is not ready, and is back once it is mended",
  { timeout: 300_000 },
  async ([side, code], { expect }) => {
    await using ends = new AsyncDisposableStack()
    const directory = await mkdtemp(join(tmpdir(), "unseal-aside-"))
    ends.defer(() => rm(directory, { recursive: true, force: true }))
    for (const name of ["in", "out", "keys"]) await mkdir(join(directory, name))
    const key = (keys: string) => copyFile(join(VECTOR, "key.pem"), join(directory, keys, "key.pem"))
    await key("keys")
    const server = await startRedis()
    ends.defer(() => server.close())

    const lines: { readonly who: string; readonly msg: string }[] = []
    const start = (who: string, env: Record<string, string> = {}) => {
      const config = readConfig({
        REDIS_URL: server.url,
        ...{ UNSEAL_QUEUE: QUEUE, UNSEAL_PROJECT_ID: PROJECT, UNSEAL_CONCURRENCY: "4" },
        UNSEAL_SOURCE: pathToFileURL(join(directory, "in")).href,
        UNSEAL_DESTINATION: pathToFileURL(join(directory, "out")).href,
        UNSEAL_KEYS: join(directory, "keys"),
        ...env,
      })
      const logger = createLogger("worker", "info", {
        write: (text) => lines.push({ who, ...JSON.parse(text) }),
      })
      const redis = connectRedis({ REDIS_URL: server.url }, "consumer", logger)
      ends.defer(() => redis.disconnect())
      const registry = createRegistry()
      const consumer = { asides: { firstMs: 200, mostMs: 400 }, suspension: { firstMs: 200, mostMs: 800 } }
      const worker = createWorker({ config, redis, registry, logger, consumer })
      ends.defer(() => worker.close())
      return { ...worker, redis, registry }
    }
    const elsewhere = join(directory, "not-mounted")
    const broken = start("broken", {
      ...(side === "keys"
        ? { UNSEAL_KEYS: elsewhere }
        : { UNSEAL_DESTINATION: pathToFileURL(elsewhere).href }),
    })
    const { redis } = start("healthy")
    const producer = createProducer({ connection: redis, queue: QUEUE, deadlineMs: 30_000 })
    ends.defer(() => producer.close())
    const encryptedPassword = (await readFile(join(VECTOR, "password.b64"), "utf8")).trim()
    let archives = 0
    const submit = async (count: number) => {
      for (let each = 0; each < count; each++, archives++) {
        const archiveId = randomUUID()
        await mkdir(join(directory, "in", PROJECT, archiveId), { recursive: true })
        const object = join(directory, "in", PROJECT, archiveId, "archive.ts")
        if (archives === 0) await copyFile(join(VECTOR, "archive.enc"), join(directory, "one"))
        await link(join(directory, "one"), object)
        const facts = {
          projectId: PROJECT,
          archiveId,
          encryptedPassword,
          status: "uploaded",
          nonce: archiveId,
        }
        await producer.enqueue(createJobPayload({ ...facts, receivedAt: new Date().toISOString() }))
      }
    }
    const accounts = () => readAccounts(redis, QUEUE)
    /** Submits more until `isSo`: a worker learns what it can do by archives alone. */
    const until = async (isSo: () => Promise<boolean>) => {
      const signal = AbortSignal.timeout(90_000)
      for (; !(await isSo()); await sleep(50, undefined, { signal }))
        if ((await accounts()).live < 20) await submit(1)
    }
    const told = (message: string) => lines.filter(({ msg }) => msg.startsWith(message))

    await submit(40)
    const clause = `stands aside from every project, since other workers succeed where it fails (${PROJECT}, ${side}: ${code})`
    await until(async () => (await broken.ready()).includes(clause))
    const committed = async () => (await accounts()).committed
    await expect.poll(committed, { timeout: 60_000, interval: 50 }).toBe(archives)
    expect(told("project suspended").length).toBeLessThanOrEqual(3)
    expect(told("this worker stands aside")).toMatchObject([
      { who: "broken", projectId: PROJECT, side, code },
    ])
    expect(await broken.registry.metrics()).toContain(
      `unseal_worker_aside{project="${PROJECT}",side="${side}"} 1`,
    )
    expect(broken.live()).toBe(null)

    await mkdir(elsewhere)
    if (side === "keys") await key("not-mounted")
    await until(async () => (await broken.ready()).length === 0)
    await expect.poll(committed, { timeout: 60_000, interval: 50 }).toBe(archives)
    expect(told("this worker takes the project's archives again")).toMatchObject([{ who: "broken" }])
    expect(await accounts()).toMatchObject({ deadLetters: 0, live: 0, missing: 0 })
    const ids = await redis.zrange(queueKey(QUEUE, "completed"), 0, "-1")
    const attempts = await Promise.all(ids.map((id) => redis.hget(queueKey(QUEUE, id), "atm")))
    expect(new Set(attempts)).toEqual(new Set(["1"]))
  },
)

test("a worker that can serve one of its projects is ready", () => {
  const aside = { projectId: "1", side: "keys", code: "ERR_KEY_SERVICE_UNAVAILABLE" } as const
  expect(standsAside([aside], ["1", "2"])).toEqual([])
  expect(standsAside([], ["1"])).toEqual([])
  expect(standsAside([aside, { ...aside, projectId: "2" }], ["1", "2"])).toHaveLength(1)
})
