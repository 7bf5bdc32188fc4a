/**
 * BullMQ's internals that Unseal relies on, one fact per test. After an upgrade of BullMQ, the failing test's name says what has
 * changed. bullmq-inside.ts' importers, and the scripts that name the same keys, rely on it.
 */
import { Queue, Worker } from "bullmq"
import { afterEach, beforeEach, expect, test } from "vitest"
import { useQueue } from "../../../../test/harness/queue.ts"
import { COMPLETED_METRICS } from "../accounting.ts"
import { lockKey, queueKey, queuePrefix } from "../names.ts"
import { duplicatePatiently, type RedisClient } from "../redis/client.ts"
import { addScriptFor, backendInside, FINISHED_ARGUMENT, LAST_PRIORITY } from "./inside.ts"

const current = useQueue("inside")
const SHIFTED = 2 ** 32
let connection: RedisClient
let queue: Queue
let worker: Worker

beforeEach(() => {
  const { client, name } = current
  connection = duplicatePatiently(client)
  const options = { connection, prefix: queuePrefix(name), skipVersionCheck: true }
  queue = new Queue(name, options)
  worker = new Worker(name, null, { ...options, autorun: false, metrics: COMPLETED_METRICS })
  queue.on("error", () => {})
  worker.on("error", () => {})
})
afterEach(async () => {
  await worker.close()
  await queue.close()
  connection.disconnect()
})

const key = (type: string) => queueKey(current.name, type)
const unpacked = async (packed: unknown): Promise<unknown> =>
  JSON.parse(
    (await current.client.eval(
      "return cjson.encode(cmsgpack.unpack(ARGV[1]))",
      ...[0, packed as Buffer],
    )) as string,
  )
const add = (jobId: string, options: { priority?: number; delay?: number } = {}) =>
  queue.add("decrypt", { projectId: "7" }, { jobId, ...options })
/** The text of a script, which is registered under its name and BullMQ's version. */
const textOf = (script: string): string =>
  Object.entries(connection.scriptsSet as Record<string, { lua: string }>).find(
    ([name]) => name.split(":")[0] === script,
  )?.[1].lua ?? "there is no such script"

test("BullMQ's addPrioritizedJob takes the KEYS marker, meta, id, prioritized, delayed, completed, active, events, pc", async () => {
  const jobs = [{ payload: { size: 1 }, options: { jobId: "a" } }]
  const { script } = await addScriptFor(connection, queue, jobs)
  const names = ["marker", "meta", "id", "prioritized", "delayed", "completed", "active", "events", "pc"]
  expect(script.keys).toEqual(names.map(key))
  expect(script.lua).toBe(textOf("addPrioritizedJob"))
})

test("BullMQ's addPrioritizedJob takes the ARGV description, data, options, the first and last packed", async () => {
  const jobs = ["a", "b"].map((jobId) => ({ payload: { of: jobId }, options: { jobId, attempts: 3 } }))
  const { given } = await addScriptFor(connection, queue, jobs)
  expect(given.map((each) => each.length)).toEqual([3, 3])
  for (const [index, [described, data, options]] of given.entries()) {
    const jobId = ["a", "b"][index]
    const [prefix, id, name] = (await unpacked(described)) as unknown[]
    expect([prefix, id, name]).toEqual([key(""), jobId, "decrypt"])
    expect(data).toBe(JSON.stringify({ of: jobId }))
    expect(await unpacked(options)).toMatchObject({ attempts: 3, priority: LAST_PRIORITY })
  }
  await expect(add("c", { priority: LAST_PRIORITY + 1 })).rejects.toThrow(/[Pp]riority/)
})

test("a prioritized job's score is its priority times 2^32 and the counter pc, and the marker 0 wakes a worker", async () => {
  await add("a", { priority: 5 })
  await add("b", { priority: 5 })
  const line = await current.client.zrange(key("prioritized"), 0, "-1", "WITHSCORES")
  expect(line).toEqual(["a", String(5 * SHIFTED + 1), "b", String(5 * SHIFTED + 2)])
  expect(await current.client.get(key("pc"))).toBe("2")
  expect(await current.client.hget(key("a"), "priority")).toBe("5")
  expect(await current.client.zrange(key("marker"), 0, "-1", "WITHSCORES")).toEqual(["0", "0"])
})

test("a delayed job's score is its time in milliseconds times 4096, and the marker 1 has the first one's time", async () => {
  await add("a", { delay: 3_600_000 })
  const [id, score] = await current.client.zrange(key("delayed"), 0, "-1", "WITHSCORES")
  const added = Number(await current.client.hget(key("a"), "timestamp"))
  expect([id, Math.floor(Number(score) / 4096)]).toEqual(["a", added + 3_600_000])
  const marker = await current.client.zrange(key("marker"), 0, "-1", "WITHSCORES")
  expect(marker).toEqual(["1", String(added + 3_600_000)])
})

test("moveToActive answers [[field, value, …], id, …], and the lock contains the run's token", async () => {
  const answers: [string, unknown][] = []
  const backend = backendInside(worker)
  const { execCommand } = backend
  backend.execCommand = async (...given) => {
    const answer = await execCommand.apply(backend, given)
    answers.push([given[1], answer])
    return answer
  }
  await add("a", { priority: 5 })
  const job = await worker.getNextJob("token", { block: false })
  expect(job?.id).toBe("a")
  const [[command, [fields, id]]] = answers as [[string, [string[], string]]]
  expect([command, id]).toEqual(["moveToActive", "a"])
  const names = fields.filter((_, index) => index % 2 === 0)
  expect(names).toEqual(expect.arrayContaining(["data", "opts", "timestamp", "processedOn"]))
  expect(await current.client.get(lockKey(current.name, "a"))).toBe("token")
  expect(await current.client.lrange(key("active"), 0, -1)).toEqual(["a"])
})

test("moveToFinishedArgs gets the state and the fields to update in the expected positions", async () => {
  await queue.waitUntilReady()
  const seen: unknown[][] = []
  const backend = backendInside(worker)
  const { moveToFinishedArgs } = backend
  backend.moveToFinishedArgs = (job, ...given) => {
    seen.push(given)
    given[FINISHED_ARGUMENT.fields] = { data: '{"kept":1}' }
    return moveToFinishedArgs.call(backend, job, ...given)
  }
  await add("a", { priority: 5 })
  const job = await worker.getNextJob("token", { block: false })
  await job!.moveToCompleted({}, "token", false)
  expect(seen[0]?.[FINISHED_ARGUMENT.state]).toBe("completed")
  expect(await current.client.hget(key("a"), "data")).toBe('{"kept":1}')
})

test("BullMQ's moveToFinished takes 14 KEYS, the job's hash 12th, and answers an error below 0 before it changes anything", async () => {
  await queue.waitUntilReady()
  const seen: unknown[][] = []
  const backend = backendInside(worker)
  const { execCommand, version } = backend
  backend.execCommand = (client, command, given) => {
    if (command === "moveToFinished") seen.push(given)
    return execCommand.call(backend, client, command, given)
  }
  await add("a", { priority: 5 })
  const job = await worker.getNextJob("token", { block: false })
  await expect(job!.moveToCompleted({}, "another token", false)).rejects.toThrow(/lock/i)
  expect(await current.client.exists(key("completed"))).toBe(0)
  await job!.moveToCompleted({}, "token", false)
  const [given] = seen
  expect(given!.slice(11, 14)).toEqual([key("a"), key("metrics:completed"), key("marker")])
  expect(given![14]).toBe("a")
  expect(Object.keys(connection.scriptsSet)).toContain(`moveToFinished:${version}`)
})

test("an ended job is in completed or failed by its finishedOn, with atm, failedReason and pb in its hash, and is counted", async () => {
  for (const jobId of ["a", "b"]) await add(jobId, { priority: 5 })
  const done = await worker.getNextJob("token", { block: false })
  await done!.moveToCompleted({}, "token", false)
  const failed = await worker.getNextJob("token", { block: false })
  await failed!.moveToFailed(new Error("the reason"), "token", false)
  for (const [state, id] of [
    ["completed", "a"],
    ["failed", "b"],
  ] as const) {
    const finishedOn = await current.client.hget(key(id), "finishedOn")
    expect(await current.client.zrange(key(state), 0, "-1", "WITHSCORES")).toEqual([id, finishedOn])
  }
  expect(await current.client.hmget(key("b"), "failedReason", "atm")).toEqual(["the reason", "1"])
  expect(await current.client.hget(key("metrics:completed"), "count")).toBe("1")
})

test("BullMQ counts a job's lost workers in stc, and notes its worker in pb", async () => {
  await queue.waitUntilReady()
  expect(textOf("moveStalledJobsToWait")).toMatch(/"HINCRBY", \w+, "stc", 1/)
  expect(textOf("moveToActive")).toMatch(/"pb"/)
})

test("a pause is the field paused of meta", async () => {
  await queue.pause()
  expect(await current.client.hexists(key("meta"), "paused")).toBe(1)
})

test("a backend waits for a job, and reconnects, with the methods that are patched", () => {
  const { waitForJob, reconnectBlocking, toKey } = backendInside(worker)
  expect([typeof waitForJob, typeof reconnectBlocking, typeof toKey]).toEqual([
    "function",
    "function",
    "function",
  ])
})
