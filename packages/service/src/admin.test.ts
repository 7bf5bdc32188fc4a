import { networkInterfaces } from "node:os"
import { afterEach, describe, expect, it } from "vitest"
import { type AdminOptions, startAdminServer } from "./admin.ts"
import { createLogger } from "./log/logger.ts"
import { createRegistry } from "./metrics.ts"

let close: (() => Promise<void>) | undefined
afterEach(() => close?.())

async function start(options: Partial<AdminOptions> = {}): Promise<string> {
  const admin = await startAdminServer({
    port: 0,
    host: "127.0.0.1",
    registry: createRegistry(),
    logger: createLogger("test", "silent"),
    ready: async () => [],
    ...options,
  })
  close = admin.close
  return `http://127.0.0.1:${admin.port}`
}

describe("startAdminServer", () => {
  it("says whether the process is alive, and why not", async () => {
    let reason: string | null = null
    const base = await start({ live: () => reason })
    expect((await fetch(`${base}/healthz`)).status).toBe(200)
    reason = "no progress for 90 s"
    const stuck = await fetch(`${base}/healthz`)
    expect(stuck.status).toBe(503)
    expect(await stuck.json()).toEqual({ status: "stuck", reason })
  })

  it("says whether the process is ready, and every reason why not", async () => {
    let reasons: string[] = []
    const base = await start({ ready: async () => reasons })
    expect(await (await fetch(`${base}/readyz`)).json()).toEqual({ status: "ready", reasons: [] })
    reasons = ["draining", "redis is not connected"]
    const response = await fetch(`${base}/readyz`)
    expect(response.status).toBe(503)
    expect(await response.json()).toEqual({ status: "not ready", reasons })
  })

  it("is not ready if the readiness check fails, or takes too long", async () => {
    const base = await start({ ready: () => new Promise(() => {}), readyTimeoutMs: 20 })
    const late = await fetch(`${base}/readyz`)
    expect(late.status).toBe(503)
    expect(await late.json()).toMatchObject({ reasons: ["no answer about readiness within 20 ms"] })
    await close?.()
    const failing = await start({ ready: () => Promise.reject(new Error("store unreachable")) })
    expect(await (await fetch(`${failing}/readyz`)).json()).toMatchObject({ reasons: ["store unreachable"] })
  })

  it("shows the metrics as Prometheus text", async () => {
    const response = await fetch(`${await start()}/metrics`)
    expect(response.headers.get("content-type")).toContain("text/plain; version=0.0.4")
    expect(await response.text()).toContain("unseal_build_info")
  })

  it.each([
    ["GET", "/"],
    ["GET", "/metricsx"],
    ["GET", "/__proto__"],
    ["POST", "/healthz"],
    ["DELETE", "/metrics"],
  ])("answers %s %s with a 404 problem document", async (method, path) => {
    const response = await fetch(`${await start()}${path}`, { method })
    expect(response.status).toBe(404)
    expect(response.headers.get("content-type")).toBe("application/problem+json")
    expect(await response.json()).toMatchObject({ title: "Not Found", status: 404 })
  })

  it("listens on both IPv6 and IPv4 by default", async () => {
    const { port } = new URL(await start({ host: undefined }))
    expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200)
    const hasIpv6 = Object.values(networkInterfaces()).some((list) =>
      list?.some(({ address }) => address === "::1"),
    )
    if (hasIpv6) expect((await fetch(`http://[::1]:${port}/healthz`)).status).toBe(200)
  })

  it("rejects if the port is taken or the address is another machine's, and names the setting", async () => {
    const port = Number(new URL(await start()).port)
    await expect(
      startAdminServer({
        port,
        host: "127.0.0.1",
        registry: createRegistry(),
        logger: createLogger("test", "silent"),
        ready: async () => [],
      }),
    ).rejects.toThrow(`UNSEAL_ADMIN_PORT: port ${port} is taken by another process`)
    await expect(start({ host: "192.0.2.1" })).rejects.toThrow(
      "UNSEAL_HOST: 192.0.2.1 is not an address of this machine",
    )
  })
})
