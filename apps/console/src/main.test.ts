/** The console as an operator starts it: users by the command line, settings in the environment, an end by SIGTERM. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, it } from "vitest"
import { codeIn, compareWithDocument, exposedIn, rowsOf } from "../../../test/documents/exposed.ts"
import { type AppProcess, runCli, startApp } from "../../../test/harness/process.ts"
import { type RedisServer, startRedis } from "../../../test/harness/redis/redis.ts"

const PASSWORD = "fifteen letters or more"
let redis: RedisServer
let directory: string
let users: string
beforeAll(async () => {
  redis = await startRedis()
  directory = mkdtempSync(join(tmpdir(), "unseal-console-"))
  users = join(directory, "users")
  const made = await runCli(["console", "user", "ann", "--role", "operator"], {
    input: Buffer.from(`${PASSWORD}\n`),
  })
  expect(made).toMatchObject({ code: 0, stderr: "" })
  expect(made.stdout.toString()).toMatch(/^ann:scrypt\$32768\$8\$3\$[\w-]+\$[\w-]+:operator\n$/)
  writeFileSync(users, made.stdout)
})
afterAll(async () => {
  await redis?.close()
  rmSync(directory, { recursive: true, force: true })
})

const envOf = (more: Record<string, string> = {}) => ({
  ...{ REDIS_URL: redis.url, UNSEAL_PORT: "0", UNSEAL_ADMIN_PORT: "0", UNSEAL_HOST: "127.0.0.1" },
  ...{ UNSEAL_CONSOLE_USERS_FILE: users, ...more },
})
const signIn = (app: AppProcess, password: string) => {
  const base = `http://127.0.0.1:${app.ports.http}`
  return fetch(`${base}/sign-in`, {
    ...{ method: "POST", headers: { origin: base }, redirect: "manual" },
    body: new URLSearchParams({ name: "ann", password }),
  })
}

it("serves pages to its users, probes and metrics to the rest, and ends in order on SIGTERM", async () => {
  const app = await startApp("console", { env: envOf({ UNSEAL_CONSOLE_BOARD: "1" }) })
  try {
    const base = `http://127.0.0.1:${app.ports.http}`
    expect((await signIn(app, "not the password")).status).toBe(401)
    const signedIn = await signIn(app, PASSWORD)
    expect(signedIn.status).toBe(303)
    const cookie = signedIn.headers.get("set-cookie")!.split(";")[0]!
    const page = await (await fetch(base, { headers: { cookie } })).text()
    expect(page).toContain("Nothing was ever put into this queue")
    const board = await fetch(`${base}/board/api/queues`, { headers: { cookie } })
    expect(await board.json()).toMatchObject({ queues: [{ name: "unseal", readOnlyMode: true }] })
    const admin = `http://127.0.0.1:${app.ports.admin}`
    expect((await fetch(`${admin}/healthz`)).status).toBe(200)
    await expect.poll(async () => (await fetch(`${admin}/readyz`)).status, { timeout: 30_000 }).toBe(200)
    const exposed = exposedIn(await (await fetch(`${admin}/metrics`)).text())
    const rows = rowsOf("metrics.md").filter(([, processes]) => processes!.split(", ").includes("console"))
    const shown = [...exposed.keys()].filter((metric) => metric.startsWith("unseal_"))
    expect(shown.toSorted()).toEqual(rows.flatMap(([cell]) => codeIn(cell)).toSorted())
    expect(compareWithDocument(exposed, rows)).toBeGreaterThan(10)
  } finally {
    expect(await app.stop()).toBe(0)
  }
  expect(app.log.at(-1)).toMatchObject({ msg: "stopped" })
  expect(JSON.stringify(app.log)).not.toContain(PASSWORD)
})

it("is not ready while Redis is away, and says so on its pages instead of ending", async () => {
  const own = await startRedis()
  const app = await startApp("console", { env: envOf({ REDIS_URL: own.url }) })
  try {
    const admin = `http://127.0.0.1:${app.ports.admin}`
    const ready = async () => (await fetch(`${admin}/readyz`)).status
    await expect.poll(ready, { timeout: 30_000 }).toBe(200)
    const cookie = (await signIn(app, PASSWORD)).headers.get("set-cookie")!.split(";")[0]!
    const page = async () =>
      (await fetch(`http://127.0.0.1:${app.ports.http}/`, { headers: { cookie } })).status
    await own.stop("SIGKILL")
    await expect.poll(ready, { timeout: 30_000 }).toBe(503)
    await expect.poll(page, { timeout: 30_000 }).toBe(503)
    expect((await fetch(`${admin}/healthz`)).status).toBe(200)
    await own.restart()
    await expect.poll(page, { timeout: 30_000 }).toBe(200)
  } finally {
    await app.stop()
    await own.close()
  }
})

it.each([
  [{ UNSEAL_CONSOLE_USERS_FILE: "" }, "nobody could sign in"],
  [{ UNSEAL_CONSOLE_USERS_FILE: "/nowhere" }, "/nowhere can't be read (ENOENT)"],
  [{ UNSEAL_CONSOLE_PROXY_HEADER: "X-User" }, "belong together"],
  [{ UNSEAL_CONSOLE_URL: "https://unseal.example.com/path" }, "without a path"],
  [{ UNSEAL_CONSOLE_SECRET: "short" }, "32 characters or more"],
  [{ UNSEAL_CONSOLE_WRTE: "1" }, "did you mean UNSEAL_CONSOLE_WRITE?"],
])("does not start with %j", async (wrong, said) => {
  await expect(startApp("console", { env: envOf(wrong as Record<string, string>) })).rejects.toThrow(
    new RegExp(`ended with 2[^]*${said.replace(/[()?/.]/g, "\\$&")}`),
  )
})

it.each([
  [["ann:otto"], PASSWORD, "can't be a user's name"],
  [["ann"], "short\n", "the password has 5 characters, and needs 15 or more"],
  [["ann", "--role", "root"], PASSWORD, "reader, operator"],
  [["ann"], "x".repeat(5_000), "more than 1024 bytes"],
])("refuses to make a user of %j and %j", async (args, input, said) => {
  const { code, stdout, stderr } = await runCli(["console", "user", ...args], { input: Buffer.from(input) })
  expect([code, stdout.toString()]).toEqual([2, ""])
  expect(stderr).toContain(said)
})
