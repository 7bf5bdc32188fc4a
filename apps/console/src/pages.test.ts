import { randomUUID } from "node:crypto"
import { UnsealError } from "@unseal/archive/errors"
import { queueKey } from "@unseal/queue/names"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { type ConsoleApp, startConsoleApp } from "../../../test/harness/console-app.ts"
import { consume, current, enqueue } from "../../../test/harness/consumer.ts"
import { giveDeadLetters, newPayload } from "../../../test/harness/queue.ts"
import { countCommands } from "../../../test/harness/redis/commands.ts"

const SOON = { timeout: 60_000, interval: 50 }
let app: ConsoleApp
beforeEach(async () => {
  app = await startConsoleApp(current)
})
afterEach(() => app.close())

/** The text of a page, for a reader. */
async function page(path: string): Promise<string> {
  const answer = await app.get(path, app.as("rita"))
  expect(answer.status, path).toBe(200)
  return answer.text()
}
const PATHS = [
  "/",
  "/archives/waiting",
  "/archives/active",
  "/archives/delayed",
  "/archives/suspended",
  "/archives/dead",
]
const EVERY_PATH = [...PATHS, "/archives/committed", "/actions", "/search", "/search?q=zzz", "/search?q=0000"]

describe("the pages", () => {
  it.each(EVERY_PATH)("%s is whole HTML for an empty queue", async (path) => {
    const text = await page(path)
    expect(text).toMatch(/^<!doctype html>\n<html lang="en">/)
    expect(text).toContain("</html>")
    expect(text).not.toMatch(/undefined|NaN|\[object/)
  })

  it("says on the overview what waits for what, and whose move it is", async () => {
    await enqueue(newPayload("100001"))
    await giveDeadLetters(current, 3, "200002", Date.now(), "ERR_NO_MATCHING_KEY: none of 2 keys")
    expect(await page("/")).toContain("No worker is connected")
    consume({
      suspension: { firstMs: 3_600_000, mostMs: 3_600_000 },
      async run() {
        throw Object.assign(new UnsealError("ERR_STORE_DENIED", "the bucket denies it"), {
          side: "destination",
        })
      },
    })
    await expect.poll(() => page("/"), SOON).toContain("waits for its destination")
    await expect.poll(() => page("/"), SOON).not.toContain("No worker is connected")
    const text = await page("/")
    expect(text).toContain("2 things need you")
    expect(text).toContain("the bucket denies it")
    expect(text).toContain("3 dead letters")
    expect(text).toContain("<b>Your move:</b> Put the private key")
    expect(await page("/archives/suspended")).toContain("ERR_STORE_DENIED")
  })

  it("says on the overview that workers die with archives in hand, but not if only one was evicted", async () => {
    const jobId = await enqueue()
    const consumer = consume({
      run: (_, { signal }) =>
        new Promise((_, no) => signal.addEventListener("abort", () => no(signal.reason))),
    })
    await expect.poll(() => page("/"), SOON).toContain("Running for")
    const key = queueKey(current.name, jobId)
    await current.client.hset(key, { stc: "1" })
    // A reading is shared for a second.
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    expect(await page("/")).not.toContain("Workers died or froze")
    await current.client.hset(key, { stc: "4" })
    await expect.poll(() => page("/"), SOON).toContain("One archive has lost its worker 4 times.")
    expect(await page("/")).toContain("One thing needs you")
    await consumer.close()
    // A job whose lock is gone, as a worker that was killed leaves it.
    await current.client.zrem(queueKey(current.name, "prioritized"), jobId)
    await current.client.lrem(queueKey(current.name, "wait"), 0, jobId)
    await current.client.hset(key, { stc: "0" })
    await current.client.lpush(queueKey(current.name, "active"), jobId)
    await expect.poll(() => page("/"), SOON).toContain("1 archive waits for another worker to notice.")
  })

  it("turns pages of 50, without leaving out or repeating an archive", async () => {
    await giveDeadLetters(current, 120, "100001", 1_700_000_000_000, "ERR_NOT_MPEG_TS: no")
    const seen = new Set<string>()
    let pages = 0
    for (let path: string | undefined = "/archives/dead?code=ERR_NOT_MPEG_TS"; path !== undefined; pages++) {
      const text = await page(path)
      for (const [, id] of text.matchAll(/data-key="(100001_[^"]+)"/g)) {
        expect(seen.has(id!)).toBe(false)
        seen.add(id!)
      }
      path = /rel="next" href="([^"]+)"/.exec(text)?.[1]?.replaceAll("&amp;", "&")
    }
    expect([seen.size, pages]).toEqual([120, 3])
  })

  it("shows one archive's history and what is next, by its job, its archive id, or the beginning of that", async () => {
    const payload = newPayload("100001", { size: 1_500_000_000 })
    const jobId = await enqueue(payload)
    const text = await page(`/jobs/${jobId}`)
    expect(text).toContain("it is the next one")
    expect(text).toContain("The callback arrived, with status")
    expect(text).toContain("1.5 GB (1,500,000,000 bytes)")
    for (const q of [
      jobId,
      payload.archiveId,
      payload.archiveId.toUpperCase(),
      payload.archiveId.slice(0, 8),
    ]) {
      const answer = await app.get(`/search?q=${q}`, app.as("rita"))
      expect([answer.status, answer.headers.get("location")], q).toEqual([303, `/jobs/${jobId}`])
    }
    expect(await page(`/search?q=${randomUUID()}`)).toContain("The queue knows no archive")
    expect((await app.get(`/jobs/100001_${randomUUID()}_0123456789abcdef`, app.as("rita"))).status).toBe(404)
  })

  it("shows a committed archive's result, and what Redis does not know", async () => {
    const jobId = await enqueue()
    consume({ run: async () => ({ outcome: "decrypted", destinationKey: "a/archive.ts", size: 7 }) })
    await expect.poll(() => page("/archives/committed"), SOON).toContain(jobId)
    const text = await page(`/jobs/${jobId}`)
    expect(text).toContain("Nothing: it is decrypted")
    expect(text).toContain("<dd>a/archive.ts</dd>")
    expect(text).toContain('<code>archive.json</code>, is at <span class="id">a/archive.json</span>')
    expect(text).toContain("What is not known here")
  })

  it("shows nothing of a password, wrapped or not, on any page, whatever state its archive is in", async () => {
    const secret = Buffer.from("c4n4ry-wrapped-password-of-an-archive").toString("base64")
    const url = "https://example.com/c4n4ry-signed-url"
    const payload = (projectId: string) =>
      newPayload(projectId, { encryptedPassword: secret, url, status: "available" })
    const ids = [
      await enqueue(payload("100001")),
      await enqueue(payload("200002")),
      await enqueue(payload("300003")),
    ]
    consume({
      async run({ projectId }) {
        if (projectId === "100001") throw new UnsealError("ERR_NOT_MPEG_TS", "no")
        if (projectId === "200002") throw new UnsealError("ERR_OBJECT_NOT_FOUND", "no object")
        return { outcome: "decrypted" }
      },
    })
    await expect.poll(() => page("/archives/dead"), SOON).toContain(ids[0])
    await expect.poll(() => page("/archives/committed"), SOON).toContain(ids[2])
    await expect.poll(() => page("/archives/delayed"), SOON).toContain(ids[1])
    for (const path of [...EVERY_PATH, ...ids.map((id) => `/jobs/${id}`)]) {
      const text = await page(path)
      for (const canary of [secret, secret.slice(0, 20), "c4n4ry", Buffer.from(secret).toString("hex")])
        expect(text, path).not.toContain(canary)
    }
  })

  it("escapes everything that came from outside: ids, projects, statuses, reasons and searches", async () => {
    const hostile = `<script>alert(1)</script>"'&`
    const id = `${hostile}_${hostile}_x`
    const data = JSON.stringify({ size: 1, status: hostile, receivedAt: hostile, url: "javascript:alert(1)" })
    await current.client.hset(queueKey(current.name, id), {
      ...{ data, timestamp: Date.now(), failedReason: `ERR_NOT_MPEG_TS: ${hostile}`, pb: hostile },
      ...{
        returnvalue: JSON.stringify({ [hostile]: hostile, outcome: hostile }),
        processedOn: 1,
        finishedOn: 2,
      },
    })
    for (const set of ["failed", "completed", "prioritized", "delayed"]) {
      await current.client.zadd(queueKey(current.name, set), 1, id)
      for (const path of [...PATHS, "/archives/committed", `/jobs/${encodeURIComponent(id)}`]) {
        const answer = await app.get(path, app.as("rita"))
        expect(await answer.text(), path).not.toMatch(/<script>alert|"'&(?!amp|quot|#39|lt|gt)/)
      }
      await current.client.zrem(queueKey(current.name, set), id)
    }
    for (const path of [
      `/search?q=${encodeURIComponent(hostile)}`,
      `/archives/waiting?project=${encodeURIComponent(hostile)}`,
      `/archives/dead?code=${encodeURIComponent(hostile)}&after=${encodeURIComponent(hostile)}`,
    ])
      expect(await page(path), path).not.toContain("<script>alert")
  })

  it("does the same work in Redis for a page of a long queue as of a short one", async () => {
    const costs: Record<string, number[]> = {}
    for (const length of [60, 20_000]) {
      for (const set of ["prioritized", "failed"]) {
        const places = Array.from({ length }, (_, index) => [index + 1, `100001_${randomUUID()}_${index}`])
        for (let at = 0; at < length; at += 2_000)
          await current.client.zadd(queueKey(current.name, set), ...places.slice(at, at + 2_000).flat())
      }
      for (const path of [
        "/archives/waiting",
        "/archives/waiting?after=prioritized~30~x",
        "/archives/dead",
      ]) {
        await page(path)
        const count = await countCommands(current.client, () => page(path))
        costs[path] = [...(costs[path] ?? []), count]
      }
    }
    // Dead letters are counted by code, of at most 2,000.
    for (const [path, [short, long]] of Object.entries(costs))
      expect(long! - short!, path).toBeLessThan(2_100)
  })
})

describe("without Redis", () => {
  it("a page says so with 503, and works again when Redis is back", async () => {
    await page("/")
    const { client } = current
    const down = { overview: client.eval }
    client.eval = () => {
      throw new Error("Stream isn't writeable and enableOfflineQueue options is false")
    }
    try {
      await expect.poll(async () => (await app.get("/", app.as("rita"))).status, SOON).toBe(503)
      const answer = await app.get("/archives/waiting", app.as("rita"))
      expect(answer.headers.get("retry-after")).toBe("5")
      expect(await answer.text()).toContain("Redis does not answer")
    } finally {
      client.eval = down.overview
    }
    await expect.poll(async () => (await app.get("/", app.as("rita"))).status, SOON).toBe(200)
  })
})
