import { execFile } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { expect, test } from "vitest"
import { createLogger } from "./logger.ts"
import { textOf } from "./text.ts"

const CANARY = "c4n4ry-value"

/** A line as text, without its time. */
function text(fields: object, message: string): string {
  let shown = ""
  const logger = createLogger("worker", "info", {
    write(line) {
      shown += textOf(line)
    },
  })
  logger.warn(fields, message)
  expect(shown).toMatch(/^\d\d:\d\d:\d\d\.\d{3}Z /)
  return shown.slice(14)
}

test("is one line: level, process, message, and the fields, those of the archive first", () => {
  const fields = { seconds: 2.5, tail: "pkcs7", projectId: "123456", archiveId: "a-1", reason: "two words" }
  expect(text({ ...fields, ports: { admin: 9090 } }, "archive committed")).toBe(
    'WARN  worker  archive committed  archiveId=a-1  projectId=123456  seconds=2.5  tail=pkcs7  reason="two words"  ports={"admin":9090}\n',
  )
  expect(text({}, "stopped")).toBe("WARN  worker  stopped\n")
})

test("shows an error and its causes below", () => {
  const cause = Object.assign(new TypeError("inner"), { code: "ECONNRESET" })
  const lines = text({ err: new Error("outer", { cause }) }, "failed").split("\n")
  expect(lines[0]).toBe("WARN  worker  failed")
  expect(lines[1]).toBe("    Error: outer")
  expect(lines[2]).toMatch(/^ {4,}at .*text\.test\.ts/)
  expect(lines).toContain("    caused by TypeError [ECONNRESET]: inner")
})

test("holds no secret that JSON does not hold", () => {
  const err = Object.assign(new Error(`GET https://user:${CANARY}@host/key?sig=${CANARY}`), {
    request: { password: CANARY },
  })
  const shown = text({ token: CANARY, list: [{ password: CANARY }], err }, "failed")
  expect(shown).not.toContain(CANARY)
  expect(shown).toContain("token=[redacted]")
})

test("escapes what would control a terminal, or pretend to be another line", () => {
  const shown = text({ key: "\u001b[2Ja\nINFO b\u202e", err: new Error("\u001b]0;title\u0007") }, "a\u0007b")
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what must not be there.
  expect(shown.replaceAll("\n", "")).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/)
  expect(shown.split("\n").filter((line) => line.startsWith("INFO"))).toEqual([])
})

test("leaves alone what is not JSON", () => {
  expect(textOf("plain\n")).toBe("plain\n")
})

/** The standard output of a process that logs one line; its output counts as a terminal if `isTerminal`. */
async function outputOf(isTerminal: boolean, format?: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "unseal-log-"))
  const path = join(directory, "main.mjs")
  const module = new URL("../process.ts", import.meta.url).href
  await writeFile(
    path,
    `process.stdout.isTTY = ${isTerminal}
     const { runProcess } = await import(${JSON.stringify(module)})
     await runProcess("test", async ({ logger, configureLog }) => {
       configureLog({ LOG_LEVEL: "info", ${format ? `LOG_FORMAT: ${JSON.stringify(format)}` : ""} })
       logger.info({ token: ${JSON.stringify(CANARY)}, size: 16 }, "a line")
       setInterval(() => process.kill(process.pid, "SIGTERM"), 100)
       return { ports: { admin: 9090 }, stop: async () => {} }
     })`,
  )
  const env = { ...process.env, NO_COLOR: "1" }
  const { stdout } = await promisify(execFile)(process.execPath, [path], { env })
  await rm(directory, { recursive: true })
  return stdout
}

test.each([
  ["text", true, undefined],
  ["text", false, "text"],
  ["json", false, undefined],
  ["json", true, "json"],
])(
  "the log is %s if its output is a terminal (%s), and LOG_FORMAT is %s",
  async (expected, isTerminal, format) => {
    const lines = (await outputOf(isTerminal, format)).trim().split("\n")
    expect(lines).toHaveLength(4)
    if (expected === "json")
      expect(JSON.parse(lines[0]!)).toMatchObject({ msg: "a line", token: "[redacted]" })
    else expect(lines[0]).toMatch(/^\S+Z INFO {2}test {2}a line {2}token=\[redacted\] {2}size=16$/)
    expect(lines[1]).toContain("listening")
    expect(lines.join()).not.toContain(CANARY)
  },
)
