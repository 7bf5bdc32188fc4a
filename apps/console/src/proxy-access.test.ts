import { afterEach, describe, expect, it } from "vitest"
import { type ConsoleApp, startConsoleApp } from "../../../test/harness/console-app.ts"
import { useQueue } from "../../../test/harness/queue.ts"

const current = useQueue("console-proxy")
let app: ConsoleApp
const start = async (options?: Parameters<typeof startConsoleApp>[1]) => {
  app = await startConsoleApp(current, options)
}
afterEach(() => app.close())

const statusOf = async (path: string, headers: Record<string, string>) =>
  (await app.get(path, headers)).status

describe("behind a proxy that authenticates", () => {
  it("its header names the visitor, who needs no session, and is an operator if the settings say so", async () => {
    await start({ proxyNetworks: "127.0.0.0/8", proxyOperators: ["olga"], hasDesk: false, writes: true })
    const page = async (name: string) => (await app.get("/redrive", { "x-user": name })).status
    expect(await page("olga")).toBe(200)
    expect(await page("ron")).toBe(403)
    expect(await statusOf("/", { "x-user": "ron" })).toBe(200)
    const html = await (await app.get("/", { "x-user": "<b>ron" })).text()
    expect(html).not.toContain("<b>ron")
  })

  it("nobody is let in without the header, or with more than one name in it", async () => {
    await start({ proxyNetworks: "127.0.0.0/8", hasDesk: false })
    for (const headers of [
      {},
      { "x-user": "" },
      { "x-user": "a b" },
      { "x-user": "a, b" },
      { "x-user": "a".repeat(200) },
    ])
      expect(await statusOf("/", headers as Record<string, string>)).toBe(401)
    expect(await statusOf("/sign-in", {})).toBe(401)
  })

  it("the header from anywhere else is ignored", async () => {
    await start({ proxyNetworks: "10.0.0.0/8", proxyOperators: ["*"] })
    expect(await statusOf("/", { "x-user": "olga" })).toBe(303)
  })
})
