import { type ChildProcessByStdio, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Readable } from "node:stream"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"

const MODULES = ["process", "settings/settings"].map((name) =>
  fileURLToPath(new URL(`./${name}.ts`, import.meta.url)),
)

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "unseal-process-"))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

let count = 0

/** Runs `main`, the body of a process's main function, and watches it. */
function run(main: string) {
  const path = join(directory, `main-${count++}.mjs`)
  writeFileSync(
    path,
    `import { runProcess } from ${JSON.stringify(MODULES[0])}
     import { ConfigurationError } from ${JSON.stringify(MODULES[1])}
     await runProcess("test", async ({ logger }) => { ${main} })`,
  )
  const child: ChildProcessByStdio<null, Readable, Readable> = spawn(process.execPath, [path], {
    stdio: ["ignore", "pipe", "pipe"],
  })
  let output = ""
  let complaints = ""
  child.stdout.on("data", (chunk) => {
    output += chunk
  })
  child.stderr.on("data", (chunk) => {
    complaints += chunk
  })
  const lines = () =>
    output
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  return {
    child,
    lines,
    complaints: () => complaints,
    async until(msg: string): Promise<Record<string, unknown>> {
      for (;;) {
        const line = lines().find((it) => it.msg === msg)
        if (line) return line
        if (child.exitCode !== null) throw new Error(`ended with ${child.exitCode}: ${output}${complaints}`)
        await Promise.race([once(child.stdout, "data"), once(child, "exit")])
      }
    },
    /** The exit code. */
    async end(): Promise<number | null> {
      if (child.exitCode === null) await once(child, "close")
      return child.exitCode
    },
  }
}

const KEEP_ALIVE = "setInterval(() => {}, 1000);"

describe("runProcess", () => {
  it.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)(
    "says where it listens, and stops with 0 on %s",
    async (signal) => {
      const main = run(
        `${KEEP_ALIVE} return { ports: { http: 1234 }, stop: async () => logger.info("closed") }`,
      )
      expect((await main.until("listening")).ports).toEqual({ http: 1234 })
      main.child.kill(signal)
      expect(await main.end()).toBe(0)
      expect(main.lines().map(({ msg }) => msg)).toEqual(["listening", "stopping", "closed", "stopped"])
    },
  )

  it("prints every problem of a configuration on its own line and exits with 2", async () => {
    const main = run(`throw new ConfigurationError(["A is wrong", "B is missing"])`)
    expect(await main.end()).toBe(2)
    expect(main.complaints()).toBe("A is wrong\nB is missing\n")
    expect(main.lines()).toEqual([])
  })

  it.each([
    ["when it can't start", `throw new Error("port taken")`, "start failed", "port taken"],
    [
      "on an exception that nobody caught",
      `${KEEP_ALIVE} setTimeout(() => { throw new Error("bug") }); return { ports: {} }`,
      "uncaught exception",
      "bug",
    ],
    [
      "on a rejection that nobody handled",
      `${KEEP_ALIVE} Promise.reject(new Error("bug")); return { ports: {} }`,
      "unhandled rejection",
      "bug",
    ],
  ])("exits with 1 %s, and logs it", async (_name, body, msg, message) => {
    const main = run(body)
    expect(await main.end()).toBe(1)
    const line = main.lines().find(({ level }) => level === "fatal")
    expect(line).toMatchObject({ msg, err: { message } })
  })

  it("treats signals that arrive together as one", async () => {
    const main = run(`${KEEP_ALIVE} return { ports: {}, stop: () => new Promise((r) => setTimeout(r, 500)) }`)
    await main.until("listening")
    main.child.kill("SIGINT")
    await main.until("stopping")
    main.child.kill("SIGINT")
    main.child.kill("SIGTERM")
    expect(await main.end()).toBe(0)
  })

  it("exits with 1 if a second signal arrives while it stops", async () => {
    const main = run(`${KEEP_ALIVE} return { ports: {}, stop: () => new Promise(() => {}) }`)
    await main.until("listening")
    main.child.kill("SIGTERM")
    await main.until("stopping")
    await sleep(2_500)
    main.child.kill("SIGTERM")
    expect(await main.end()).toBe(1)
    expect(main.lines().at(-1)?.msg).toBe("killed by a second signal")
  })

  it("exits with 1 if it does not stop in time", async () => {
    const main = run(`${KEEP_ALIVE} return { ports: {}, stop: () => new Promise(() => {}) }`)
    await main.until("listening")
    main.child.kill("SIGTERM")
    expect(await main.end()).toBe(1)
    expect(main.lines().at(-1)).toMatchObject({
      msg: "stop failed",
      err: { message: "not stopped within 8000 ms" },
    })
  })

  it("finishes starting before it stops if the signal arrives early", async () => {
    const main = run(`${KEEP_ALIVE} logger.info("starting"); await new Promise((r) => setTimeout(r, 300));
      return { ports: {}, stop: async () => logger.info("closed") }`)
    await main.until("starting")
    main.child.kill("SIGTERM")
    expect(await main.end()).toBe(0)
    expect(main.lines().map(({ msg }) => msg)).toContain("closed")
  })
})
