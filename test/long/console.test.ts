/** The console in a real Chromium, on a queue in which everything happens. */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { UnsealError } from "@unseal/archive/errors"
import { createProducer } from "@unseal/queue/enqueue/producer"
import { queueKey } from "@unseal/queue/names"
import { type Consumer, createConsumer } from "@unseal/queue/run/consumer"
import { Redis } from "ioredis"
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { type ConsoleApp, PASSWORD_OF, startConsoleApp } from "../harness/console-app.ts"
import { ensureProgram } from "../harness/programs.ts"
import { giveDeadLetters, newPayload } from "../harness/queue.ts"
import { type RedisServer, startRedis } from "../harness/redis/redis.ts"

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")
const SOON = { timeout: 120_000, interval: 100 }
const VIEWS = [
  { name: "a wide light screen", options: { viewport: { width: 1280, height: 900 }, colorScheme: "light" } },
  { name: "a wide dark screen", options: { viewport: { width: 1280, height: 900 }, colorScheme: "dark" } },
  {
    name: "a phone",
    options: { viewport: { width: 390, height: 844 }, colorScheme: "light", hasTouch: true },
  },
] as const

let redis: RedisServer
let client: Redis
let browser: Browser
beforeAll(async () => {
  const executablePath = await ensureProgram(["chromium", "chromium-browser", "google-chrome"], {
    packages: { apt: "chromium", dnf: "chromium", apk: "chromium" },
  })
  redis = await startRedis({ appendfsync: "no" })
  client = new Redis(redis.url)
  browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] })
})
afterAll(async () => {
  await browser?.close()
  client?.disconnect()
  await redis?.close()
})

/** Opens a page of somebody who has signed in, and notes what goes wrong in it. */
async function open(context: BrowserContext, app: ConsoleApp) {
  const [, value] = app.as("otto").cookie!.split(/=(.*)/)
  await context.addCookies([{ name: "unseal", value: value!, url: app.base }])
  const page = await context.newPage()
  const wrong: string[] = []
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()))
  page.on("pageerror", (error) => wrong.push(error.message))
  page.on("dialog", (dialog) => {
    wrong.push(`dialog ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on("request", (request) => {
    if (!request.url().startsWith(app.base)) wrong.push(`asks ${request.url()}`)
  })
  return { page, wrong }
}

/** Hides the page, or shows it, as a browser does with a tab. */
const visibility = (isHidden: boolean): string =>
  `Object.defineProperty(document, "hidden", { value: ${isHidden}, configurable: true })
   document.dispatchEvent(new Event("visibilitychange"))`

/** What axe finds, as lines. */
async function axe(page: Page): Promise<string[]> {
  await page.evaluate(AXE)
  // As text: these run in the page, whose names the tests' compiler does not know.
  return page.evaluate(
    "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)].join(' | ')))",
  )
}

describe("a queue in which everything happens", () => {
  const name = "busy"
  let app: ConsoleApp
  let consumer: Consumer
  let paths: Record<string, string>
  const queue = () => ({ client, name })

  beforeAll(async () => {
    const producer = createProducer({
      connection: client,
      queue: name,
      deadlineMs: 60_000,
      pendingLimit: 100_000,
    })
    const add = (count: number, project: string) =>
      Promise.all(
        Array.from({ length: count }, () => producer.enqueue(newPayload(project, { size: 1_500_000_000 }))),
      )
    consumer = createConsumer({
      ...{ connection: client, queue: name, concurrency: 4, lockMs: 3_600_000, stallCheckMs: 3_600_000 },
      suspension: { firstMs: 3_600_000, mostMs: 3_600_000 },
      observe: { ended() {} },
      async run({ projectId, archiveId }, { checkpoint, signal }) {
        const fails = (code: "ERR_STORE_DENIED" | "ERR_OBJECT_ARCHIVED", side: "destination" | "source") =>
          Object.assign(new UnsealError(code, "s3 bucket decrypted denies PutObject"), { side })
        if (projectId === "100001") throw fails("ERR_STORE_DENIED", "destination")
        if (projectId === "200002") throw fails("ERR_OBJECT_ARCHIVED", "source")
        if (projectId === "300003")
          return { outcome: "decrypted", destinationKey: `${archiveId}/archive.ts`, size: 7 }
        await checkpoint.begin({
          ...{ token: "t", destinationKey: `${archiveId}/archive.ts`, sourceKey: "s", sourceEtag: "e" },
          ...{ sourceSize: 1_000, partSize: 400, plaintextSize: 1_000 },
        })
        await checkpoint.part(1, { size: 400, tag: "t", crc32: 1, syncErrors: 0 })
        return new Promise<never>((_, reject) =>
          signal.addEventListener("abort", () => reject(signal.reason)),
        )
      },
    })
    for (const project of ["100001", "200002", "300003"]) await add(3, project)
    await vi.waitFor(async () => expect(await client.zcard(queueKey(name, "completed"))).toBe(3), SOON)
    await add(60, "400004")
    await giveDeadLetters(queue(), 3, "500005", Date.now() - 60_000, "ERR_NO_MATCHING_KEY: none of 2 keys")
    await vi.waitFor(async () => expect(await client.llen(queueKey(name, "active"))).toBe(4), SOON)
    await vi.waitFor(async () => expect(await client.zcard(queueKey(name, "delayed"))).toBe(6), SOON)
    await producer.close()
    app = await startConsoleApp(queue(), { writes: true })
    const first = async (set: string) => (await client.zrange(queueKey(name, set), 0, "0"))[0]!
    paths = {
      ...{
        overview: "/",
        waiting: "/archives/waiting",
        active: "/archives/active",
        delayed: "/archives/delayed",
      },
      ...{ suspended: "/archives/suspended", dead: "/archives/dead", committed: "/archives/committed" },
      "a second page": "/archives/waiting?after=prioritized~1~x",
      "a waiting archive": `/jobs/${await first("prioritized")}`,
      "a running archive": `/jobs/${(await client.lrange(queueKey(name, "active"), 0, 0))[0]}`,
      "a held or delayed archive": `/jobs/${await first("delayed")}`,
      "a dead letter": `/jobs/${await first("failed")}`,
      "a committed archive": `/jobs/${await first("completed")}`,
      ...{ "a search": "/search?q=0000", redrive: "/redrive?code=ERR_NO_MATCHING_KEY", resume: "/resume" },
      ...{ actions: "/actions", "an unknown path": "/nothing" },
    }
  })
  afterAll(async () => {
    await consumer?.close()
    await app?.close()
  })

  it.each(VIEWS)("every page is clean for axe, and fits, on $name", async ({ options }) => {
    const context = await browser.newContext(options)
    const { page, wrong } = await open(context, app)
    const found: Record<string, unknown> = {}
    for (const [title, path] of Object.entries(paths)) {
      await page.goto(app.base + path)
      const violations = await axe(page)
      const overflow = await (page.evaluate(
        "document.documentElement.scrollWidth - innerWidth",
      ) as Promise<number>)
      if (violations.length > 0 || overflow > 0) found[title] = { violations, overflow }
    }
    await context.clearCookies()
    await page.goto(app.base)
    const violations = await axe(page)
    if (violations.length > 0) found["sign in"] = violations
    expect(found).toEqual({})
    // The one for the unknown path.
    expect(wrong.filter((text) => !text.includes("404"))).toEqual([])
    await context.close()
  })

  it("can be signed in to, searched, redriven and left by keyboard alone", async () => {
    const context = await browser.newContext()
    const page = await context.newPage()
    await page.goto(`${app.base}/archives/dead`)
    await page.getByLabel("Name").focus()
    await page.keyboard.type("otto")
    await page.keyboard.press("Tab")
    await page.keyboard.type(PASSWORD_OF.otto)
    await page.keyboard.press("Enter")
    await page.waitForURL(`${app.base}/archives/dead`)
    await page.keyboard.press("Tab")
    expect(await page.evaluate("document.activeElement.textContent")).toBe("Skip to the content")
    await page.keyboard.press("Enter")
    const isThere = () => page.evaluate("document.activeElement.textContent === 'Redrive these…'")
    for (let presses = 0; presses < 30 && !(await isThere()); presses++) await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.waitForURL(/\/redrive\?/)
    const confirm = page.getByRole("button", { name: "Redrive 3 dead letters" })
    await confirm.focus()
    await page.keyboard.press("Enter")
    await page.waitForURL(/\/actions\//)
    await expect.poll(() => page.locator("main").textContent(), SOON).toContain("3 of 3 done")
    expect(await client.zcard(queueKey(name, "failed"))).toBe(0)
    await page.getByRole("button", { name: "Sign out" }).focus()
    await page.keyboard.press("Enter")
    await page.waitForURL(/\/sign-in/)
    await context.close()
    await giveDeadLetters(queue(), 3, "500005", Date.now() - 60_000, "ERR_NO_MATCHING_KEY: none of 2 keys")
  })

  it("stays live without losing what somebody types, stops while hidden, and comes back after an outage", async () => {
    const context = await browser.newContext()
    const { page } = await open(context, app)
    await page.goto(app.base)
    const dead = page.locator("nav.states a", { hasText: "Dead letters" }).locator(".count")
    // A reading is shared for a second, so the page may still show what was there before.
    const before = 3
    await expect.poll(() => dead.textContent(), SOON).toBe(String(before))
    await page.getByRole("searchbox").pressSequentially("half an i")
    await page.evaluate("globalThis.sameDocument = true")
    await giveDeadLetters(queue(), 2, "500005", Date.now(), "ERR_NOT_MPEG_TS: no")
    await expect.poll(() => dead.textContent(), SOON).toBe(String(before + 2))
    await expect.poll(() => page.locator(".findings").textContent(), SOON).toContain("ERR_NOT_MPEG_TS")
    await page.keyboard.type("d")
    expect(await page.getByRole("searchbox").inputValue()).toBe("half an id")
    expect(await page.evaluate("globalThis.sameDocument")).toBe(true)

    let asked = 0
    page.on("request", () => asked++)
    await page.evaluate(visibility(true))
    // Any that was under way.
    await page.waitForTimeout(500)
    asked = 0
    await page.waitForTimeout(5_000)
    expect(asked).toBe(0)
    await page.evaluate(visibility(false))
    await expect.poll(() => asked, SOON).toBeGreaterThan(0)

    const live = page.locator("#live")
    await page.route("**/*", (route) => route.abort())
    await expect.poll(() => live.textContent(), SOON).toContain("No answer since")
    await page.unroute("**/*")
    await expect.poll(() => live.textContent(), SOON).toContain("Live")
    await context.close()
  })

  it("shows everything without a script", async () => {
    const context = await browser.newContext({ javaScriptEnabled: false })
    const { page, wrong } = await open(context, app)
    for (const path of Object.values(paths)) {
      await page.goto(app.base + path)
      expect((await page.locator("h1").textContent())!.length, path).toBeGreaterThan(3)
    }
    await page.goto(app.base)
    await page
      .getByRole("link", { name: /^Waiting/ })
      .first()
      .click()
    await page.getByRole("link", { name: "Next page" }).click()
    expect(await page.locator("tbody tr").count()).toBeGreaterThan(0)
    expect(wrong.filter((text) => !text.includes("404"))).toEqual([])
    await context.close()
  })

  it("has bull-board, which shows jobs without passwords, without buttons that act, and without content from other sites", async () => {
    const board = await startConsoleApp(queue(), { board: true, writes: true })
    const context = await browser.newContext()
    const { page, wrong } = await open(context, board)
    const text = () => page.locator("body").innerText()
    await page.goto(board.base)
    await page.getByRole("link", { name: "bull-board" }).click()
    for (const status of ["latest", "active", "prioritized", "delayed", "failed", "completed"]) {
      await page.goto(`${board.base}/board/queue/${name}?status=${status}`)
      await expect.poll(text, SOON).toMatch(/[0-9]{6}_[0-9a-f]{8}-/)
      for (const tab of ["Data", "Options", "Logs"]) {
        await page.getByText(tab, { exact: true }).first().click({ timeout: 30_000 })
        await expect.poll(text, SOON).toMatch(/[0-9]{6}_[0-9a-f]{8}-/)
        expect(await page.content()).not.toContain("d3JhcHBlZC1jYW5hcnk")
      }
    }
    const buttons = await page.getByRole("button").allInnerTexts()
    expect(
      buttons.filter((label) => /retry|clean|remove|promote|pause|add|empty|obliterate/i.test(label)),
    ).toEqual([])
    expect(wrong).toEqual([])
    await context.close()
    await board.close()
  })

  it("runs nothing that an archive's values contain", async () => {
    const hostile = `"><img src=x onerror=alert(1)><script>alert(2)</script>`
    const id = `500005_${hostile}_x`
    await client.hset(queueKey(name, id), {
      ...{ data: JSON.stringify({ status: hostile, receivedAt: hostile }), timestamp: Date.now() },
      ...{ failedReason: `ERR_NOT_MPEG_TS: ${hostile}`, pb: hostile },
    })
    await client.zadd(queueKey(name, "failed"), Date.now() + 1_000, id)
    const context = await browser.newContext()
    const { page, wrong } = await open(context, app)
    for (const path of [
      "/archives/dead",
      `/jobs/${encodeURIComponent(id)}`,
      "/redrive",
      `/search?q=${encodeURIComponent(hostile)}`,
    ]) {
      await page.goto(app.base + path)
      // A script that could run would have by the time that the page has renewed itself.
      expect(await page.locator("main").textContent(), path).toContain("alert(2)")
    }
    expect(wrong).toEqual([])
    await client.zrem(queueKey(name, "failed"), id)
    await context.close()
  })
})
