/** Ctrl-C in commands that wait for a peer that never answers. */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { readdirSync, readlinkSync } from "node:fs"
import { copyFile, mkdtemp, rm } from "node:fs/promises"
import { type AddressInfo, createServer, type Server, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { runCli } from "../../harness/process.ts"

const VECTOR = join(import.meta.dirname, "../../vectors/openssl-zero")
const MAIN = resolve(import.meta.dirname, "../../../apps/cli/bin/unseal.mjs")
const ID = "b40ef09b-3811-4726-b508-e41a0f96c68f"

let directory: string
/** Accepts every connection, and says nothing. */
let silent: Server
const sockets = new Set<Socket>()

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-interrupted-"))
  await copyFile(join(VECTOR, "callback.json"), join(directory, "callback.json"))
  silent = createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
  })
  await once(silent.listen(0, "127.0.0.1"), "listening")
})
afterAll(async () => {
  for (const socket of sockets) socket.destroy()
  silent.close()
  await rm(directory, { recursive: true })
})

const environment = () => {
  const origin = `127.0.0.1:${(silent.address() as AddressInfo).port}`
  return {
    ...{ REDIS_URL: `redis://${origin}`, UNSEAL_PROJECT_ID: "123456", UNSEAL_API_SECRET: "secret" },
    ...{ UNSEAL_API_URL: `http://${origin}`, UNSEAL_DESTINATION: "file:///tmp" },
  }
}

test.each([
  "queue status",
  "queue dead-letters",
  "queue redrive --all",
  `queue redrive --committed ${ID}`,
  `queue discard ${ID} --reason gone`,
  "queue pause",
  "queue resume",
  "submit callback.json",
  `archives show ${ID}`,
  "archives list",
  "archives reconcile",
  "janitor",
])("unseal %s", async (line) => {
  const connected = once(silent, "connection")
  const child = spawn(process.execPath, [MAIN, ...line.split(" ")], {
    env: { PATH: process.env.PATH, ...environment() },
    cwd: directory,
    stdio: ["ignore", "ignore", "pipe"],
  })
  let stderr = ""
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text
  })
  await connected
  child.kill("SIGINT")
  const [code] = await once(child, "close")
  // If something had waited for the answer that never comes, it would be reported.
  expect({ code, stderr }).toEqual({ code: 3, stderr: "unseal: interrupted by SIGINT\n" })
})

test.runIf(process.platform === "linux")("a source that is a pipe without a writer", async () => {
  const pipe = join(directory, "pipe")
  execFileSync("mkfifo", [pipe])
  const args = ["decrypt", pipe, "-", "--key", join(VECTOR, "key.pem")]
  const child = spawn(process.execPath, [MAIN, ...args, "--callback", join(VECTOR, "callback.json")], {
    stdio: ["ignore", "pipe", "pipe"],
  })
  let stderr = ""
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text
  })
  const files = `/proc/${child.pid}/fd`
  const opened = () =>
    readdirSync(files).some((name) => {
      try {
        return readlinkSync(join(files, name)) === pipe
      } catch {
        return false
      }
    })
  try {
    await expect.poll(opened, { timeout: 20_000 }).toBe(true)
    const closed = once(child, "close")
    child.kill("SIGINT")
    expect({ code: (await closed)[0], stderr }).toEqual({
      code: 3,
      stderr: expect.stringMatching(/^unseal: interrupted by SIGINT/),
    })
  } finally {
    child.kill("SIGKILL")
  }
})

test("a Redis that does not run is named by its address, with what to do", async () => {
  const env = { REDIS_URL: "redis://user:secret@127.0.0.1:1/3" }
  const { code, stderr } = await runCli(["queue", "status"], { env })
  expect({ code, stderr }).toEqual({
    code: 3,
    stderr: expect.stringMatching(
      /^unseal: redis did not answer within 5 s: connect ECONNREFUSED 127\.0\.0\.1:1; start it, or set REDIS_URL, which is redis:\/\/\S*127\.0\.0\.1:1\/3\n$/,
    ),
  })
  expect(stderr).not.toContain("secret")
})
