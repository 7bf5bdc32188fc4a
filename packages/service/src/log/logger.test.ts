import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"
import { VERSION } from "../version.ts"
import { createLogger, rateLimited } from "./logger.ts"

function capture(level = "info") {
  const lines: string[] = []
  const logger = createLogger("ingest", level, { write: (line) => void lines.push(line) })
  return { logger, lines, last: () => JSON.parse(lines.at(-1) ?? "{}") as Record<string, never> }
}

const CANARY = "c4n4ry-value"

describe("createLogger", () => {
  it("writes one JSON object per line with ISO time, level, name and version", () => {
    const { logger, lines, last } = capture()
    logger.info({ archiveId: "a" }, "callback")
    expect(lines[0]?.endsWith("\n")).toBe(true)
    expect(last()).toEqual({
      level: "info",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      name: "ingest",
      version: VERSION,
      archiveId: "a",
      msg: "callback",
    })
  })

  it("respects its level", () => {
    const { logger, lines } = capture("warn")
    logger.info("no")
    logger.warn("yes")
    expect(lines).toHaveLength(1)
  })

  it.each([
    ...[
      "password",
      "encryptedPassword",
      "passphrase",
      "secret",
      "signatureSecret",
      "signatureSecrets",
      "token",
    ],
    ...["callbackToken", "authorization", "cookie", "contentKey", "privateKey", "iv", "secretAccessKey"],
    ...["accountKey", "x-opentok-auth", "connectionString"],
  ])("redacts %s at any depth", (field) => {
    const { logger, lines } = capture()
    const secret = { [field]: CANARY }
    logger.info({ ...secret, a: { ...secret, b: { c: { d: { e: secret } } } }, list: [[secret]] }, "x")
    expect(lines.join()).not.toContain(CANARY)
    expect(lines.join().match(/\[redacted\]/g)).toHaveLength(4)
  })

  it("does not change its input, and writes the rest of it", () => {
    const { logger, last } = capture()
    const fields = { list: [{ token: CANARY, size: 16 }], at: new Date(0), url: new URL("s3://bucket/key") }
    logger.info(fields, "x")
    expect(fields.list[0]!.token).toBe(CANARY)
    expect(last()).toMatchObject({
      list: [{ token: "[redacted]", size: 16 }],
      at: "1970-01-01T00:00:00.000Z",
      url: "s3://bucket/key",
    })
  })

  it("survives a circular structure", () => {
    const { logger, lines, last } = capture()
    const circle: Record<string, unknown> = { token: CANARY }
    circle.self = circle
    logger.info({ circle }, "x")
    expect(last().msg).toBe("x")
    expect(lines.join()).not.toContain(CANARY)
  })

  it("does not redact the key of an object", () => {
    const { logger, last } = capture()
    logger.info({ key: "1/2/archive.ts" }, "x")
    expect(last().key).toBe("1/2/archive.ts")
  })

  it("keeps type, code, message, stack and causes of an error, and nothing else", () => {
    const { logger, last } = capture()
    const cause = Object.assign(new TypeError("inner"), { code: "ECONNRESET", $response: CANARY })
    const err = Object.assign(new Error("outer", { cause }), { request: { body: CANARY } })
    logger.error({ err }, "failed")
    expect(last().err).toEqual({
      type: "Error",
      message: "outer",
      stack: expect.stringContaining("logger.test.ts"),
      cause: { type: "TypeError", code: "ECONNRESET", message: "inner", stack: expect.any(String) },
    })
  })

  it("removes credentials and queries from the URLs in an error", () => {
    const { logger, lines, last } = capture()
    const url = `https://user:${CANARY}@host/key?X-Amz-Signature=${CANARY}`
    logger.error({ err: new Error(`GET ${url} failed`) }, "failed")
    expect(lines.join()).not.toContain(CANARY)
    expect(last().err).toMatchObject({ message: "GET https://host/key?… failed" })
  })

  it("keeps no more of an error in another field", () => {
    const { logger, lines, last } = capture()
    const error = Object.assign(new Error("inner"), { request: { body: CANARY }, password: CANARY })
    logger.warn({ error, results: [{ err: error }] }, "failed")
    expect(lines.join()).not.toContain(CANARY)
    expect(last()).toMatchObject({ error: { message: "inner" }, results: [{ err: { message: "inner" } }] })
  })

  it("survives circular causes, and causes that are not errors", () => {
    const { logger, lines } = capture()
    const circle = new Error("a")
    circle.cause = circle
    logger.error({ err: circle }, "x")
    logger.error({ err: "text" }, "x")
    logger.error({ err: undefined }, "x")
    expect(lines).toHaveLength(3)
  })
})

describe("rateLimited", () => {
  it("writes a number of lines per second for each kind, and says how many it left out", () => {
    const { logger, lines, last } = capture()
    let now = 5_000
    const log = rateLimited(logger, 2, () => now)
    for (let i = 0; i < 10; i++) log("error", "a", {}, "failed")
    expect(lines).toHaveLength(2)
    log("error", "b", {}, "failed")
    expect(lines).toHaveLength(3)
    now += 1_000
    log("error", "a", {}, "failed")
    expect(last()).toMatchObject({ suppressed: 8 })
    log("error", "a", {}, "failed")
    expect(last()).not.toHaveProperty("suppressed")
  })

  it("stays bounded even if kinds don't come from a closed set", () => {
    const { logger, lines } = capture()
    const log = rateLimited(logger, 1, () => 0)
    for (let i = 0; i < 1_000; i++) log("error", `kind ${i}`, {}, "failed")
    expect(lines.length).toBeLessThanOrEqual(101)
  })
})

describe("standard output", () => {
  const run = promisify(execFile)
  const logging = (rest: string) => [
    "--input-type=module",
    "-e",
    `import { createLogger } from ${JSON.stringify(new URL("./logger.ts", import.meta.url).href)}
     const logger = createLogger("test", "info")
     for (let line = 0; line < 1000; line++) logger.info({ line }, "text")
     ${rest}`,
  ]
  const numbersIn = (stdout: string) =>
    stdout
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { line: number }).line)
  const all = Array.from({ length: 1000 }, (_, line) => line)

  it.each([
    ["by itself", "", 0],
    ["by process.exit", "process.exit(3)", 3],
    ["by an error that nobody catches", 'throw new Error("as the test wants")', 1],
    ["by a rejection that nobody handles", 'Promise.reject(new Error("as the test wants"))', 1],
  ])("has every line, in order, of a process that ends %s in the same turn", async (_, rest, code) => {
    const ended = await run(process.execPath, logging(rest)).catch((error: unknown) => error)
    const { stdout, code: actual = 0 } = ended as { stdout: string; code?: number }
    expect(actual).toBe(code)
    expect(numbersIn(stdout)).toEqual(all)
  })

  it("has the lines of a turn as soon as the turn is over", async () => {
    const waits = 'setImmediate(() => setImmediate(() => process.kill(process.pid, "SIGKILL")))'
    const killed = await run(process.execPath, logging(waits)).catch((error: unknown) => error)
    expect(killed).toMatchObject({ signal: "SIGKILL" })
    expect(numbersIn((killed as { stdout: string }).stdout)).toEqual(all)
  })
})
