import { execFileSync } from "node:child_process"
import { existsSync } from "node:fs"
import { connect } from "node:net"
import { expect, test } from "vitest"
import { ensureProgram } from "../programs.ts"
import { startRedis } from "./redis.ts"

function command(port: number, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(`${line}\r\n`))
    socket.on("error", reject)
    socket.on("data", (data) => {
      socket.destroy()
      resolve(data.toString())
    })
  })
}

test("keeps its data over a crash and a restart on the same port, and leaves nothing behind", async () => {
  const redis = await startRedis()
  try {
    expect(await command(redis.port, "SET kept yes")).toBe("+OK\r\n")
    expect(await command(redis.port, "CONFIG GET maxmemory-policy")).toContain("noeviction")
    expect(await command(redis.port, "CONFIG GET appendfsync")).toContain("always")
    const before = redis.pid
    await redis.stop("SIGKILL")
    await expect(command(redis.port, "PING")).rejects.toThrow("ECONNREFUSED")
    expect(() => redis.pid).toThrow("stopped")
    await redis.restart()
    expect(redis.pid).not.toBe(before)
    expect(await command(redis.port, "GET kept")).toContain("yes")
  } finally {
    await redis.close()
  }
  expect(existsSync(redis.directory)).toBe(false)
  await expect(command(redis.port, "PING")).rejects.toThrow("ECONNREFUSED")
})

test("two servers do not share a port, and a taken port is refused", async () => {
  const first = await startRedis()
  const second = await startRedis({ appendfsync: "everysec", maxmemory: "20mb" })
  try {
    expect(second.port).not.toBe(first.port)
    expect(await command(second.port, "CONFIG GET maxmemory")).toContain(String(20 * 1024 * 1024))
    await expect(startRedis({ port: first.port })).rejects.toThrow(`did not start on port ${first.port}`)
    expect(await command(first.port, "PING")).toBe("+PONG\r\n")
  } finally {
    await first.close()
    await second.close()
  }
})

test("an error about a program that no package system has lists every way that was tried", async () => {
  const path = await ensureProgram("node", { packages: {} })
  expect(execFileSync(path, ["--version"]).toString()).toMatch(/^v\d/)
  await expect(ensureProgram("no-such-program", { packages: { brew: "no-such-program" } })).rejects.toThrow(
    /no-such-program is not on PATH and could not be installed:\n\s+brew install no-such-program: /,
  )
})
