import { randomUUID } from "node:crypto"
import { Redis } from "ioredis"
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import { type RedisServer, startRedis } from "../../../../test/harness/redis/redis.ts"
import { checkpointKey, lockKey, queueKey } from "../names.ts"
import { openCheckpointLog } from "./checkpoint.ts"
import { LockLostError } from "./lock.ts"

const QUEUE = "checkpoint-test"
const UPLOAD = {
  ...{ token: "u1", destinationKey: "100001/a/archive.ts", sourceKey: "100001/a/archive.ts" },
  ...{ sourceEtag: `"e1"`, sourceSize: 48, partSize: 16, plaintextSize: 40 },
}
const receipt = (tag: string) => ({ size: 16, tag, crc32: 0xffffffff, syncErrors: 3 })

let redis: RedisServer
let client: Redis
let jobId: string
let losses: LockLostError[]
let warnings: string[]

beforeAll(async () => {
  redis = await startRedis()
  client = new Redis(redis.url)
})
afterAll(async () => {
  client.disconnect()
  await redis.close()
})
beforeEach(async () => {
  jobId = randomUUID()
  losses = []
  warnings = []
  await client.set(lockKey(QUEUE, jobId), "mine")
})

function open(token = "mine", signal = new AbortController().signal): ReturnType<typeof openCheckpointLog> {
  const log = (_: object, message: string) => warnings.push(message)
  return openCheckpointLog({
    ...{ connection: client, queue: QUEUE, jobId, token, signal },
    logger: { info: log, warn: log, error: log },
    onLockLost: (reason) => losses.push(reason),
  })
}

test("a run finds what the previous one left, even if parts were written in any order or repeatedly", async () => {
  const log = open()
  expect(await log.load()).toBeNull()
  await log.begin(UPLOAD)
  await Promise.all([log.part(3, receipt("t3")), log.part(1, receipt("t0"))])
  await log.part(1, receipt("t1"))
  expect(await open("the next run's").load()).toEqual({
    upload: UPLOAD,
    parts: new Map([
      [1, receipt("t1")],
      [3, receipt("t3")],
    ]),
  })
  await log.seal({ version: 1, size: 40 })
  expect((await log.load())?.record).toEqual({ version: 1, size: 40 })
})

test("a new upload replaces everything before it", async () => {
  const log = open()
  await log.begin(UPLOAD)
  await log.part(1, receipt("t1"))
  await log.seal({ version: 1 })
  await log.begin({ ...UPLOAD, token: "u2" })
  expect(await log.load()).toEqual({ upload: { ...UPLOAD, token: "u2" }, parts: new Map() })
  await log.clear()
  expect(await log.load()).toBeNull()
})

test("clearing an empty checkpoint does not ask Redis", async () => {
  const log = open()
  await log.load()
  expect(log.empty).toBe(true)
  // A request would show that the lock is gone.
  await client.del(lockKey(QUEUE, jobId))
  await log.clear()
  await client.set(lockKey(QUEUE, jobId), "mine")
  await log.seal({ version: 1 })
  expect(log.empty).toBe(false)
  await log.clear()
  expect(await client.exists(checkpointKey(QUEUE, jobId))).toBe(0)
})

test("is kept for eight days after the last part", async () => {
  const log = open()
  await log.begin(UPLOAD)
  await client.pexpire(checkpointKey(QUEUE, jobId), 1_000)
  await log.part(1, receipt("t1"))
  expect(await client.ttl(checkpointKey(QUEUE, jobId))).toBeGreaterThan(7 * 24 * 3_600)
})

test("a run without the lock can read but not write, whoever has it", async () => {
  await open().begin(UPLOAD)
  const zombie = open("another")
  expect((await zombie.load())?.upload).toEqual(UPLOAD)
  await expect(zombie.part(1, receipt("t1"))).rejects.toThrow(LockLostError)
  await client.del(lockKey(QUEUE, jobId))
  for (const write of [zombie.begin(UPLOAD), zombie.seal({}), zombie.clear()])
    await expect(write).rejects.toThrow(LockLostError)
  expect(losses).toHaveLength(4)
  expect(await zombie.load()).toEqual({ upload: UPLOAD, parts: new Map() })
})

test("any run can ask whether an upload is noted, even after its abort", async () => {
  const aborted = open("another", AbortSignal.abort(new Error("lock lost")))
  expect(await aborted.notes("u1")).toBe(false)
  await open().begin(UPLOAD)
  expect([await aborted.notes("u1"), await aborted.notes("u2")]).toEqual([true, false])
  await client.hset(checkpointKey(QUEUE, jobId), "upload", "not json")
  await expect(aborted.notes("u1")).rejects.toThrow()
})

test("an upload whose note a failover lost is noted again with its next part", async () => {
  const log = open()
  await log.begin(UPLOAD)
  await log.part(1, receipt("t1"))
  // The replica has the lock, and the note before it.
  const older = {
    upload: JSON.stringify({ ...UPLOAD, token: "u0" }),
    "part:3": JSON.stringify(receipt("t0")),
  }
  for (const kept of [{}, older]) {
    await client.del(checkpointKey(QUEUE, jobId))
    if ("upload" in kept) await client.hset(checkpointKey(QUEUE, jobId), kept)
    await log.part(2, receipt("t2"))
    expect(await log.load()).toEqual({ upload: UPLOAD, parts: new Map([[2, receipt("t2")]]) })
  }
  // So does a run that continues it.
  const next = open()
  await next.load()
  await client.del(checkpointKey(QUEUE, jobId))
  await next.part(3, receipt("t3"))
  expect(await next.load()).toEqual({ upload: UPLOAD, parts: new Map([[3, receipt("t3")]]) })
})

test("a run that lost its lock to a silent Redis asks for its note until a failover is over", async () => {
  const lost = AbortSignal.abort(new LockLostError("the lock was not confirmed"))
  const [patient, hasty] = [open("mine", lost), open("mine", AbortSignal.abort(new Error("shutdown")))]
  await open().begin(UPLOAD)
  process.kill(redis.pid, "SIGSTOP")
  try {
    const asked = patient.notes("u1")
    asked.catch(() => {})
    await expect(hasty.notes("u1")).rejects.toThrow("redis did not answer within 1000 ms")
    process.kill(redis.pid, "SIGCONT")
    expect(await asked).toBe(true)
  } finally {
    process.kill(redis.pid, "SIGCONT")
  }
})

test("a rival is another unfinished job of the same archive", async () => {
  const archiveId = randomUUID()
  jobId = `100001_${archiveId}_0000000000000001`
  const other = `100001_${archiveId}_0000000000000002`
  await client.set(lockKey(QUEUE, jobId), "mine")
  const add = async (id: string, state?: "completed" | "failed") => {
    await client.hset(queueKey(QUEUE, id), { data: "{}", timestamp: 1 })
    if (state === undefined) await client.lpush(queueKey(QUEUE, "wait"), id)
    else await client.zadd(queueKey(QUEUE, state), 1, id)
  }
  await add(jobId)
  await add(`100001_${randomUUID()}_0000000000000001`)
  const log = open()
  expect(await log.hasRivals()).toBe(false)
  await add(other, "completed")
  expect(await log.hasRivals()).toBe(false)
  await add(`${other}_r2`, "failed")
  expect(await log.hasRivals()).toBe(true)
  await client.zrem(queueKey(QUEUE, "failed"), `${other}_r2`)
  await client.lpush(queueKey(QUEUE, "wait"), `${other}_r2`)
  expect(await log.hasRivals()).toBe(true)
  // Finding it does not change what is noted.
  expect([log.empty, await log.load()]).toEqual([false, null])
})

test("a run that has lost the job does not learn of rivals: what is open may be the next run's", async () => {
  jobId = `100001_${randomUUID()}_0000000000000001`
  await expect(open().hasRivals()).rejects.toThrow(LockLostError)
  expect(losses).toHaveLength(1)
})

test("a damaged checkpoint counts as none, with a warning", async () => {
  const key = checkpointKey(QUEUE, jobId)
  const log = open()
  const damage: Record<string, string>[] = [
    { upload: "{" },
    { upload: JSON.stringify({ ...UPLOAD, partSize: -1 }) },
    { upload: "" },
    { "part:1": "[]" },
    { record: "}" },
  ]
  for (const fields of damage) {
    await log.begin(UPLOAD)
    await client.hset(key, fields)
    expect(await log.load()).toBeNull()
  }
  await client.del(key)
  await client.hset(key, "part:1", JSON.stringify(receipt("of no upload")))
  expect(await log.load()).toBeNull()
  expect(warnings).toHaveLength(damage.length + 1)
})

test("does not keep an aborted run waiting for a Redis that does not answer", async () => {
  const abort = new AbortController()
  const log = open("mine", abort.signal)
  process.kill(redis.pid, "SIGSTOP")
  try {
    const waiting = [log.load(), log.begin(UPLOAD), log.part(1, receipt("t1"))]
    setTimeout(() => abort.abort(new Error("shutdown")), 50)
    for (const work of waiting) await expect(work).rejects.toThrow("shutdown")
  } finally {
    process.kill(redis.pid, "SIGCONT")
  }
})
