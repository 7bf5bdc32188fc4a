/** The script that the manifest runs before Redis, run for real on what a real Redis has left. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { Redis } from "ioredis"
import { loadAll } from "js-yaml"
import { afterAll, beforeAll, expect, it } from "vitest"
import { ensureProgram } from "../harness/programs.ts"
import { startRedis } from "../harness/redis/redis.ts"
import { K8S } from "./tools.ts"

const data = mkdtempSync(join(tmpdir(), "unseal-redis-check-"))
let programs: string
beforeAll(async () => {
  programs = dirname(
    await ensureProgram("redis-check-aof", {
      packages: { apt: "redis-tools", dnf: "redis", apk: "redis", brew: "redis" },
    }),
  )
})
afterAll(() => rmSync(data, { recursive: true, force: true }))

/** The init container's command, with `data` in place of /data. */
async function check(): Promise<{ code: number | null; output: string }> {
  // biome-ignore lint/suspicious/noExplicitAny: its type is checked by manifests.test.ts
  const objects = loadAll(readFileSync(join(K8S, "components/redis/redis.yaml"), "utf8")) as any[]
  const { template } = objects.find(({ kind }) => kind === "StatefulSet").spec
  const [container] = template.spec.initContainers
  const [program, ...args] = [...container.command, ...container.args] as [string, ...string[]]
  const child = spawn(
    program,
    args.map((text) => text.replaceAll("/data", data)),
    { env: { PATH: `${programs}:${process.env.PATH}` }, stdio: ["ignore", "pipe", "pipe"] },
  )
  let output = ""
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text) => {
      output += text
    })
  const [code] = await once(child, "close")
  return { code, output }
}

const log = () => {
  const folder = join(data, "appendonlydir")
  return join(folder, readdirSync(folder).find((name) => name.endsWith(".incr.aof"))!)
}
const command = (...words: string[]) =>
  `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`

it("passes an empty volume, leaves a whole log alone, and cuts off half a transaction", async () => {
  expect(await check()).toEqual({ code: 0, output: "" })

  const redis = await startRedis({ directory: data })
  const client = new Redis(redis.url)
  await client.set("kept", "1")
  client.disconnect()
  await redis.close()
  const whole = readFileSync(log())
  expect(await check()).toMatchObject({ code: 0, output: expect.stringContaining("valid") })
  expect(readFileSync(log()).equals(whole)).toBe(true)

  // What a crash of the node leaves of MULTI … EXEC.
  appendFileSync(log(), command("MULTI") + command("SET", "half", "1"))
  const { code, output } = await check()
  expect({ code, output }).toEqual({ code: 0, output: expect.stringContaining("Successfully truncated AOF") })
  expect(readFileSync(log()).equals(whole)).toBe(true)
  const again = await startRedis({ directory: data })
  const after = new Redis(again.url)
  expect(await after.mget("kept", "half")).toEqual(["1", null])
  after.disconnect()
  await again.close()
})
