import { EventEmitter } from "node:events"
import { setImmediate as turn } from "node:timers/promises"
import type { Redis } from "ioredis"
import { expect, test } from "vitest"
import { createLogger } from "../log/logger.ts"
import { watchDurability } from "./durability.ts"

function watch(policy: "require" | "warn", status: string, answers: (readonly string[] | Error)[]) {
  const lines: string[] = []
  const refused: Error[] = []
  const redis = Object.assign(new EventEmitter(), { status })
  watchDurability({
    redis: redis as unknown as Redis,
    policy,
    async problems() {
      const answer = answers.shift() ?? []
      if (answer instanceof Error) throw answer
      return answer
    },
    logger: createLogger("worker", "info", { write: (line) => void lines.push(line) }),
    refuse: (error) => void refused.push(error),
  })
  return { lines, refused, connect: () => redis.emit("ready") && turn() }
}

test("an unsafe Redis is refused at start-up, with what is wrong and what to do", async () => {
  const { refused, connect } = watch("require", "connecting", [["appendonly is no", "policy is allkeys-lru"]])
  await connect()
  expect(refused).toHaveLength(1)
  expect(refused[0]!.message).toBe(
    "appendonly is no; policy is allkeys-lru. Set it up to keep them, or set UNSEAL_REDIS_DURABILITY=warn to take that risk",
  )
})

test("a Redis that is already connected is checked", async () => {
  const { refused } = watch("require", "ready", [["appendonly is no"]])
  await turn()
  expect(refused).toHaveLength(1)
})

test("if the risk is accepted, it is only logged", async () => {
  const { refused, lines, connect } = watch("warn", "connecting", [["appendonly is no"]])
  await connect()
  expect(refused).toEqual([])
  expect(lines.join()).toContain("appendonly is no")
})

test("a Redis that takes over in a failover is not refused", async () => {
  const { refused, lines, connect } = watch("require", "connecting", [[], ["appendonly is no"]])
  await connect()
  expect(lines).toEqual([])
  await connect()
  expect(refused).toEqual([])
  expect(lines.join()).toContain("appendonly is no")
})

test("one that could not be asked is asked again when it is back, and then refused", async () => {
  const { refused, lines, connect } = watch("require", "connecting", [
    new Error("away"),
    ["appendonly is no"],
  ])
  await connect()
  expect(lines.join()).toContain("does not say whether it keeps")
  await connect()
  expect(refused).toHaveLength(1)
})

test("a Redis that never answers the question is logged once, and again for another reason", async () => {
  const forbidden = new Error("NOPERM this user has no permissions to run the 'info' command")
  const { lines, connect } = watch("require", "connecting", [forbidden, forbidden, new Error("away"), []])
  for (let times = 0; times < 2; times++) await connect()
  expect(lines).toHaveLength(1)
  await connect()
  expect(lines).toHaveLength(2)
})
