import { randomBytes, randomUUID } from "node:crypto"
import { findJob } from "@unseal/queue/jobs/find-job"
import { jobIdOf } from "@unseal/queue/jobs/job"
import { countersKey, queueKey } from "@unseal/queue/names"
import { createLogger } from "@unseal/service/log/logger"
import { connectRedis } from "@unseal/service/redis/redis"
import { expect, test } from "vitest"
import { useQueue } from "../../../../test/harness/queue.ts"
import type { SubmittedLine } from "./read.ts"
import { SeenIds } from "./seen-ids.ts"
import { LOOKS_AT_ONCE, type SubmitLinesOptions, submitLines } from "./submit-lines.ts"

const current = useQueue("submission")
const never = new AbortController().signal
const OPTIONS: SubmitLinesOptions = {
  ...{ lane: "bulk", again: false, dryRun: false, isKnown: () => true, isDone: async () => false },
}

const newLine = (line: number, projectId = "7"): SubmittedLine & { payload: { archiveId: string } } => ({
  ...{ line, file: "a.ndjson", text: `{"line":${line}}` },
  payload: {
    ...{ projectId, archiveId: randomUUID(), status: "uploaded" },
    encryptedPassword: randomBytes(256).toString("base64"),
  },
})
const newLines = (count: number) => Array.from({ length: count }, (_, index) => newLine(index + 1))
const idOf = (line: SubmittedLine) => ("payload" in line ? jobIdOf(line.payload) : "")
const access = () => ({ connection: current.client, queue: current.name })

/** Connects as the commands do: it refuses while Redis is away, and reconnects. */
const connect = (url: string) => connectRedis({ REDIS_URL: url }, "producer", createLogger("cli", "silent"))

async function* given(lines: readonly SubmittedLine[]) {
  yield* lines
}

async function submitted(
  lines: readonly SubmittedLine[],
  options: Partial<SubmitLinesOptions> = {},
): Promise<string[]> {
  const blocks = await Array.fromAsync(submitLines(access(), given(lines), { ...OPTIONS, ...options }, never))
  expect(blocks.flat().map(({ line }) => line)).toEqual(lines)
  return blocks.flat().map(({ settled }) => settled.outcome)
}

test("lines become bulk jobs, in order, and a second run enqueues nothing", async () => {
  const lines = newLines(600)
  expect(new Set(await submitted(lines))).toEqual(new Set(["enqueued"]))
  const data = await current.client.hget(queueKey(current.name, idOf(lines[599]!)), "data")
  expect(JSON.parse(data!)).toMatchObject({ lane: "bulk", status: "uploaded", projectId: "7" })
  expect(new Set(await submitted(lines))).toEqual(new Set(["duplicate"]))
})

test("the same line twice is enqueued once, also within one block", async () => {
  const [line] = newLines(1)
  expect(await submitted([line!, { ...line!, line: 2 }])).toEqual(["enqueued", "duplicate"])
})

test("a line that is malformed, ignored or of an unknown project is reported and left alone", async () => {
  const lines: SubmittedLine[] = [
    { line: 1, text: "{", malformed: "it is not JSON" },
    { line: 2, text: "{}", ignored: "not-uploaded" },
    newLine(3, "999"),
    newLine(4),
  ]
  const options = { isKnown: (id: string) => id === "7" }
  expect(await submitted(lines, options)).toEqual(["refused", "ignored", "refused", "enqueued"])
})

test("a dry run reports the same and enqueues nothing", async () => {
  const lines = newLines(300)
  const twice = [...lines, { ...lines[0]!, line: 301 }]
  const outcomes = await submitted(twice, { dryRun: true })
  expect(outcomes.slice(0, 300).every((outcome) => outcome === "enqueued")).toBe(true)
  expect(outcomes[300]).toBe("duplicate")
  expect(await findJob(current.client, current.name, idOf(lines[0]!))).toBeNull()
  await submitted(lines.slice(0, 1))
  expect((await submitted(lines, { dryRun: true }))[0]).toBe("duplicate")
})

test("a done archive is enqueued only with `again`; looks at destinations are bounded", async () => {
  const lines = newLines(400)
  let [looking, most] = [0, 0]
  const done = new Set(lines.slice(0, 10).map((line) => line.payload.archiveId))
  const isDone: SubmitLinesOptions["isDone"] = async ({ archiveId }) => {
    most = Math.max(most, ++looking)
    await new Promise((resolve) => setImmediate(resolve))
    looking--
    return done.has(archiveId)
  }
  const outcomes = await submitted(lines, { isDone })
  expect(outcomes.map((outcome) => outcome === "done")).toEqual(lines.map((_, index) => index < 10))
  expect(most).toBeLessThanOrEqual(3 * LOOKS_AT_ONCE)
  expect(await submitted(lines.slice(0, 1), { isDone, again: true })).toEqual(["enqueued"])
})

test("a dead letter is a duplicate, and so is the job that it was redriven as", async () => {
  const [dead, redriven] = newLines(2)
  await submitted([dead!, redriven!])
  const [first, second] = [idOf(dead!), idOf(redriven!)]
  await current.client.zrem(queueKey(current.name, "prioritized"), first)
  await current.client.zadd(queueKey(current.name, "failed"), Date.now(), first)
  // A redrive leaves it under the next id only.
  await current.client.rename(queueKey(current.name, second), queueKey(current.name, `${second}_r2`))
  await current.client.zrem(queueKey(current.name, "prioritized"), second)
  await current.client.zadd(queueKey(current.name, "prioritized"), 1, `${second}_r2`)
  const blocks = await Array.fromAsync(submitLines(access(), given([dead!, redriven!]), OPTIONS, never))
  expect(blocks.flat().map(({ settled }) => settled)).toEqual([
    { outcome: "duplicate", jobId: first, of: "dead" },
    { outcome: "duplicate", jobId: `${second}_r2`, of: "live" },
  ])
})

test("goes on by itself when Redis is back, and no line is lost or counted twice", async () => {
  const lines = newLines(3_000)
  const troubles: string[] = []
  const client = connect(current.redis.url)
  current.client.on("error", () => {})
  let isKilled = false
  const outcomes: string[] = []
  const options = { ...OPTIONS, onTrouble: (reason: string) => void troubles.push(reason) }
  try {
    for await (const block of submitLines(
      { connection: client, queue: current.name },
      given(lines),
      options,
      never,
    )) {
      outcomes.push(...block.map(({ settled }) => settled.outcome))
      if (isKilled) continue
      isKilled = true
      await current.redis.stop("SIGKILL")
      setTimeout(() => void current.redis.restart(), 300)
    }
  } finally {
    client.disconnect()
  }
  expect(troubles.length).toBeGreaterThan(0)
  expect(outcomes).toHaveLength(3_000)
  expect(new Set(outcomes)).toEqual(new Set(["enqueued"]))
  expect(Number(await current.client.hget(countersKey(current.name), "accepted"))).toBe(3_000)
}, 120_000)

test("gives up when Redis stays away, after yielding what is settled", async () => {
  const client = connect("redis://127.0.0.1:1")
  const options = { ...OPTIONS, waitMs: 300 }
  const settling = submitLines({ connection: client, queue: "none" }, given(newLines(1)), options, never)
  await expect(Array.fromAsync(settling)).rejects.toMatchObject({ name: "QueueUnavailableError" })
  client.disconnect()
})

test("an abort ends it after the lines that were begun, even while it waits for Redis", async () => {
  const stopped = new AbortController()
  const settled: number[] = []
  const run = async () => {
    for await (const block of submitLines(access(), given(newLines(5_000)), OPTIONS, stopped.signal)) {
      settled.push(...block.map(({ line }) => line.line))
      stopped.abort(new Error("stopped"))
    }
  }
  await expect(run()).rejects.toThrow("stopped")
  expect(settled).toEqual(settled.map((_, index) => index + 1))
  expect(settled.length).toBeGreaterThanOrEqual(256)
  expect(settled.length).toBeLessThan(2_000)

  const away = connect("redis://127.0.0.1:1")
  const waiting = new AbortController()
  const onTrouble = () => waiting.abort(new Error("enough"))
  const settling = submitLines(
    { connection: away, queue: "none" },
    given(newLines(1)),
    { ...OPTIONS, onTrouble },
    waiting.signal,
  )
  await expect(Array.fromAsync(settling)).rejects.toThrow("enough")
  away.disconnect()
})

test("a failure to read comes after the lines that were read", async () => {
  async function* cut() {
    yield* newLines(300)
    throw new Error("cut")
  }
  const settled: number[] = []
  const run = async () => {
    for await (const block of submitLines(access(), cut(), OPTIONS, never))
      settled.push(...block.map(({ line }) => line.line))
  }
  await expect(run()).rejects.toThrow("cut")
  expect(settled).toHaveLength(300)
})

test("however many ids there are, each is new exactly once", () => {
  const seen = new SeenIds()
  const ids = Array.from({ length: 20_000 }, (_, index) => `7_${index}`)
  expect(ids.every((id) => seen.add(id))).toBe(true)
  expect(ids.some((id) => seen.add(id))).toBe(false)
})
