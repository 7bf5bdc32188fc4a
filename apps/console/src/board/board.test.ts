import { appRoutes } from "@bull-board/api/dist/routes.js"
import { UnsealError } from "@unseal/archive/errors"
import { queueKey } from "@unseal/queue/names"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { type ConsoleApp, startConsoleApp } from "../../../../test/harness/console-app.ts"
import { consume, current, enqueue, until } from "../../../../test/harness/consumer.ts"
import { giveDeadLetters, newPayload } from "../../../../test/harness/queue.ts"
import { countCommands } from "../../../../test/harness/redis/commands.ts"

let app: ConsoleApp
beforeEach(async () => {
  app = await startConsoleApp(current, { board: true, writes: true })
})
afterEach(() => app.close())

const get = (path: string) => app.get(path, app.as("otto"))
// biome-ignore lint/suspicious/noExplicitAny: each test says what it expects.
const json = async (path: string): Promise<any> => {
  const answer = await get(path)
  expect(answer.status, path).toBe(200)
  return answer.json()
}
const listed = (status: string, more = "") =>
  json(`/board/api/queues?activeQueue=${current.name}&status=${status}&page=1&jobsPerPage=10${more}`)

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

/** Every path that bull-board has, with this queue and job in it, and some paths that it does not have. */
function everyPath(jobId: string): string[] {
  const routes = [...appRoutes.api, appRoutes.entryPoint].flatMap(({ route }) => route)
  const paths = [
    ...routes,
    "/api/queues/:queueName/:jobId/flow",
    "/api/nothing",
    "/static/js/nothing.js",
    "/static/../index.ejs",
  ]
  return paths.map((path) =>
    path
      .replace(":queueName", current.name)
      .replace(":jobId", jobId)
      .replace(":queueStatus", "failed")
      .replace(":schedulerId", "one"),
  )
}

describe("bull-board under the console", () => {
  it("does not exist unless it is switched on", async () => {
    const plain = await startConsoleApp(current)
    try {
      for (const path of ["/board/", "/board/api/queues", "/board/static/images/logo.svg"])
        expect((await plain.get(path, plain.as("otto"))).status, path).toBe(404)
      expect(await (await plain.get("/", plain.as("otto"))).text()).not.toContain("/board/")
      expect(await (await get("/")).text()).toContain('href="/board/"')
    } finally {
      await plain.close()
    }
  })

  it("asks who somebody is: a page redirects to the form, and its script gets a 401", async () => {
    expect((await app.get("/board/")).headers.get("location")).toBe("/sign-in?to=%2Fboard%2F")
    expect((await app.get("/board/api/queues")).status).toBe(401)
    expect((await app.get("/board/static/images/logo.svg")).status).toBe(303)
  })

  it("shows the structures of the queue with its jobs, and each job's numbers", async () => {
    const [first, second] = [await enqueue(newPayload("100001", { size: 77 })), await enqueue()]
    const [dead] = await giveDeadLetters(current, 1, "200002", Date.now(), "ERR_NOT_MPEG_TS: no")
    const { queues } = await listed("prioritized")
    expect(queues).toMatchObject([
      {
        ...{ name: current.name, readOnlyMode: true, allowRetries: false, isPaused: false },
        counts: { prioritized: 2, failed: 1, active: 0, waiting: 0, delayed: 0, completed: 0, paused: 0 },
        jobs: [
          { id: first, name: "decrypt", data: { projectId: "100001", announcedBytes: 77 }, opts: {} },
          { id: second },
        ],
      },
    ])
    expect(queues[0].jobs[1].priority).toBeGreaterThan(queues[0].jobs[0].priority)
    expect(await json(`/board/api/queues/${current.name}/${dead}`)).toMatchObject({
      status: "failed",
      job: {
        id: dead,
        failedReason: "ERR_NOT_MPEG_TS: no",
        attempts: 3,
        externalUrl: { href: `/jobs/${dead}` },
      },
    })
    expect((await get(`/board/api/queues/${current.name}/nothing`)).status).toBe(404)
    expect((await get(`/board/api/queues/another/${dead}`)).status).toBe(404)
  })

  it("pages by rank, with at most a hundred jobs a page, and with the same number of commands for a long queue as for a short one", async () => {
    const ids = await giveDeadLetters(current, 250, "100001", 1_700_000_000_000, "ERR_NOT_MPEG_TS: no")
    const page = async (number: number) => {
      const { queues } = await json(
        `/board/api/queues?activeQueue=${current.name}&status=failed&page=${number}&jobsPerPage=1000000`,
      )
      return queues[0].jobs.map(({ id }: { id: string }) => id) as string[]
    }
    const pages = [await page(1), await page(2), await page(3), await page(4)]
    expect(pages.map(({ length }) => length)).toEqual([100, 100, 50, 0])
    expect(pages.flat()).toEqual(ids)
    const few = await countCommands(current.client, () => page(1))
    await giveDeadLetters(current, 3_000, "100001", 1_600_000_000_000, "ERR_NOT_MPEG_TS: no")
    expect(await countCommands(current.client, () => page(20))).toBeLessThan(few + 10)
    // All structures at once, as its first tab asks.
    const { queues } = await json(
      `/board/api/queues?activeQueue=${current.name}&status=latest&jobsPerPage=99999`,
    )
    expect(queues[0].jobs).toHaveLength(100)
    for (const page of ["-1", "0", "1e9", "x", "99999999999"]) {
      const answer = await get(
        `/board/api/queues?activeQueue=${current.name}&status=failed&page=${page}&jobsPerPage=-5`,
      )
      expect([200, 400], page).toContain(answer.status)
    }
  })

  it("has no password, no URL and no key in any response, whatever the request", async () => {
    const secret = Buffer.from("c4n4ry-wrapped-password-of-an-archive").toString("base64")
    const payload = (projectId: string) =>
      newPayload(projectId, { encryptedPassword: secret, url: "https://example.com/c4n4ry-signed-url" })
    const ids = [
      await enqueue(payload("100001")),
      await enqueue(payload("200002")),
      await enqueue(payload("300003")),
    ]
    const consumer = consume({
      async run({ projectId }) {
        if (projectId === "100001") throw new UnsealError("ERR_NOT_MPEG_TS", "no")
        if (projectId === "200002") throw new UnsealError("ERR_OBJECT_NOT_FOUND", "no object")
        return { outcome: "decrypted" }
      },
    })
    await until("failed", ids[0]!)
    await until("delayed", ids[1]!)
    await until("completed", ids[2]!)
    await consumer.close()
    ids.push(await enqueue(payload("100001")))
    for (const id of ids) {
      // Fields of a job that bull-board shows, and that its formatters don't reach.
      const key = queueKey(current.name, id)
      const hidden = {
        stacktrace: '["c4n4ry"]',
        opts: '{"deduplication":{"id":"c4n4ry"}}',
        deid: "c4n4ry",
        defa: "c4n4ry",
      }
      await current.client.hset(key, { ...hidden, progress: '{"c4n4ry":1}' })
      await current.client.rpush(`${key}:logs`, "c4n4ry")
    }
    const statuses = [
      "latest",
      "active",
      "waiting",
      "prioritized",
      "paused",
      "delayed",
      "failed",
      "completed",
      "waiting-children",
    ]
    const asked = [
      ...ids.flatMap(everyPath),
      ...statuses.map((status) => `/api/queues?activeQueue=${current.name}&status=${status}&jobsPerPage=100`),
    ]
    let found = 0
    for (const path of asked) {
      const answer = await get(`/board${path}`)
      const text = (await answer.text()) + JSON.stringify([...answer.headers])
      if (answer.status === 200 && ids.some((id) => text.includes(id))) found++
      for (const canary of [secret, secret.slice(0, 20), "c4n4ry", Buffer.from(secret).toString("hex")])
        expect(text, path).not.toContain(canary)
    }
    // The jobs were there to be shown.
    expect(found).toBeGreaterThan(10)
    expect(JSON.stringify(await listed("failed"))).toContain("ERR_NOT_MPEG_TS")
  })

  it("changes nothing, whatever method is used on each of its routes, even by an operator with a token", async () => {
    const waiting = await enqueue()
    const [dead] = await giveDeadLetters(current, 1, "200002", Date.now(), "ERR_NOT_MPEG_TS: no")
    const otto = app.as("otto")
    const token = await app.tokenOf(otto)
    expect(token).not.toBe("")
    const stateOfRedis = async () => {
      const keys = (await current.client.keys(`*${current.name}*`)).sort()
      return Promise.all(
        keys.map(async (key) => [key, (await current.client.dumpBuffer(key))?.toString("hex")]),
      )
    }
    const before = await stateOfRedis()
    for (const path of [...everyPath(waiting), ...everyPath(dead!)])
      for (const method of METHODS) {
        const answer = await fetch(`${app.base}/board${path}`, {
          method,
          redirect: "manual",
          headers: {
            ...otto,
            origin: app.base,
            "content-type": "application/x-www-form-urlencoded",
          },
          ...(!["GET", "HEAD"].includes(method) && {
            body: new URLSearchParams({
              token,
              force: "true",
              concurrency: "1",
              max: "1",
              duration: "1",
              name: "x",
            }),
          }),
        })
        await answer.text()
        if (!["GET", "HEAD"].includes(method))
          expect([method, path, answer.status]).toEqual([method, path, 405])
      }
    expect(await stateOfRedis()).toEqual(before)
    expect(app.logs.filter(({ level }) => level === "error")).toEqual([])
  })

  it("loads nothing from other sites, and has nothing inline", async () => {
    const answer = await get("/board/")
    expect(answer.headers.get("content-security-policy")).toContain("script-src 'self'; style-src 'self'")
    const text = await answer.text()
    expect(text).not.toMatch(/https?:\/\/|<style|\sstyle=|\son\w+=/)
    const files = [...text.matchAll(/(?:src|href)="(static\/[^"]+)"/g)].map(([, file]) => file)
    expect(files.length).toBeGreaterThan(3)
    for (const file of files) {
      const asset = await get(`/board/${file}`)
      expect([file, asset.status]).toEqual([file, 200])
      await asset.arrayBuffer()
    }
    expect((await get("/board/static/locales/en-US/messages.json")).status).toBe(200)
  })

  it("answers 503 without Redis", async () => {
    const { client } = current
    const { eval: evaluate } = client
    client.eval = () => {
      throw new Error("Stream isn't writeable and enableOfflineQueue options is false")
    }
    try {
      expect((await get("/board/api/queues")).status).toBe(503)
    } finally {
      client.eval = evaluate
    }
    expect((await get("/board/api/queues")).status).toBe(200)
  })
})
