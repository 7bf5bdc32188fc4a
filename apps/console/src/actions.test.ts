import { readAccounts } from "@unseal/queue/accounting"
import { queueKey, suspensionsKey } from "@unseal/queue/names"
import { pauseQueue, readPause } from "@unseal/queue/pause"
import { listSuspensions } from "@unseal/queue/suspension/state"
import { afterEach, describe, expect, it } from "vitest"
import { type ConsoleApp, startConsoleApp } from "../../../test/harness/console-app.ts"
import { giveDeadLetters, useQueue } from "../../../test/harness/queue.ts"

const SOON = { timeout: 60_000, interval: 50 }
const REASON = "ERR_NO_MATCHING_KEY: none of 2 keys"
const current = useQueue("console-actions")
let app: ConsoleApp
const start = async (writes = true) => {
  app = await startConsoleApp(current, { writes })
}
afterEach(() => app.close())

const page = async (path: string, headers = app.as("otto")) => (await app.get(path, headers)).text()

/** Confirms what the page under `path` asks, by its own form. Resolves to the page that this leads to. */
async function confirm(path: string, headers = app.as("otto")): Promise<string> {
  const form = await page(path, headers)
  const fields = Object.fromEntries(
    [
      ...form.slice(form.indexOf('class="confirm"')).matchAll(/type="hidden" name="(\w+)" value="([^"]*)"/g),
    ].map(([, name, value]) => [name!, value!]),
  )
  const answer = await app.post(path.split("?")[0]!, fields, headers)
  expect(answer.status).toBe(303)
  const led = answer.headers.get("location")!
  await expect.poll(() => page(led, headers), SOON).not.toContain(">running</span>")
  return page(led, headers)
}

const deadLetters = () => current.client.zcard(queueKey(current.name, "failed"))
const waiting = () => current.client.zcard(queueKey(current.name, "prioritized"))

/** A suspension of a project, as workers write it. */
const suspend = (project: string, side: string) =>
  current.client.hset(
    suspensionsKey(current.name),
    `${project}:${side}`,
    JSON.stringify({
      ...{
        since: Date.now() - 5_000,
        code: "ERR_STORE_DENIED",
        reason: "ERR_STORE_DENIED: no",
        remedy: "mend it",
      },
      ...{ intervalMs: 1_000, probes: 1, maxMs: 86_400_000 },
    }),
  )

describe("two replicas", () => {
  it("serve one user with one session; an action is known where it was done, and elsewhere the page says so", async () => {
    await start()
    await giveDeadLetters(current, 2, "100001", 1_000_000, REASON)
    const other = await startConsoleApp(current, { writes: true })
    try {
      const headers = app.as("otto")
      await confirm("/redrive?code=ERR_NO_MATCHING_KEY", headers)
      const led = /href="(\/actions\/[^"]+)"/.exec(await page("/actions", headers))![1]!
      expect(await page(led, headers)).toContain("2 of 2 done")
      const elsewhere = await other.get(led, headers)
      expect(elsewhere.status).toBe(404)
      expect(await elsewhere.text()).toContain("or another replica did it")
      // What was done is the same everywhere: it is in Redis.
      expect(await (await other.get("/archives/dead", headers)).text()).toContain(
        'Dead letters <span class="total">0</span>',
      )
    } finally {
      await other.close()
    }
  })
})

describe("redriving", () => {
  it("asks first, with how many; then redrives those of the code and project, and no others", async () => {
    await start()
    await giveDeadLetters(current, 7, "100001", 1_000_000, REASON)
    await giveDeadLetters(current, 2, "200002", 1_000_000, REASON)
    await giveDeadLetters(current, 3, "100001", 1_000_000, "ERR_NOT_MPEG_TS: no")
    const path = "/redrive?code=ERR_NO_MATCHING_KEY&project=100001"
    const asked = await page(path)
    expect(asked).toContain("Redrive 7 dead letters with ERR_NO_MATCHING_KEY of project 100001?")
    expect(await waiting()).toBe(0)
    expect(await confirm(path)).toContain("7 of 7 done")
    expect([await waiting(), await deadLetters()]).toEqual([7, 5])
    const lines = app.logs.filter(({ action }) => action === "redrive")
    expect(lines).toMatchObject([
      {
        msg: "operator's action begins",
        user: "otto",
        code: "ERR_NO_MATCHING_KEY",
        projectId: "100001",
        count: 7,
      },
      { msg: "operator's action is done", user: "otto", done: 7, refused: 0 },
    ])
    expect(await page("/actions")).toContain(
      "Redrive 7 dead letters with ERR_NO_MATCHING_KEY of project 100001",
    )
    expect(await app.metrics()).toContain('unseal_console_actions_total{action="redrive",outcome="done"} 1')
    expect((await readAccounts(current.client, current.name)).live).toBe(7)
  })

  it("redrives one job, or all", async () => {
    await start()
    const [one] = await giveDeadLetters(current, 4, "100001", 1_000_000, REASON)
    expect(await confirm(`/redrive?job=${one}`)).toContain("1 of 1 done")
    expect(await deadLetters()).toBe(3)
    expect(await page(`/jobs/${one}`)).toContain(`${one}_r2`)
    expect(await confirm("/redrive")).toContain("3 of 3 done")
    expect(await deadLetters()).toBe(0)
  })

  it("leaves alone what was given up after the question", async () => {
    await start()
    await giveDeadLetters(current, 1, "100001", 1_000_000, REASON)
    const headers = app.as("otto")
    const token = await app.tokenOf(headers)
    const before = new Date(Date.now() - 1).toISOString()
    await giveDeadLetters(current, 1, "100001", Date.now() + 60_000, REASON)
    const answer = await app.post("/redrive", { token, before, count: "1" }, headers)
    const led = answer.headers.get("location")!
    await expect.poll(() => page(led), SOON).toContain("1 of 1 done")
    expect(await deadLetters()).toBe(1)
  })

  it("says which were refused, and why", async () => {
    await start()
    const [damaged] = await giveDeadLetters(current, 2, "100001", 1_000_000, REASON)
    await current.client.hdel(queueKey(current.name, damaged!), "data")
    const result = await confirm("/redrive")
    expect(result).toContain("1 of 2 done, 1 refused")
    expect(result).toContain("has lost its payload in redis")
  })

  it("says that nothing matches, and that somebody else was faster", async () => {
    await start()
    expect(await page("/redrive?code=ERR_STALLED")).toContain("There are none")
    const headers = app.as("otto")
    const answer = await app.post(
      "/redrive",
      {
        token: await app.tokenOf(headers),
        before: new Date().toISOString(),
        count: "1",
        job: "100001_gone_x",
      },
      headers,
    )
    await expect.poll(() => page(answer.headers.get("location")!), SOON).toContain("0 of 1 done")
  })
})

describe("resuming", () => {
  it("ends the suspension of one side of one project, and no other", async () => {
    await start()
    await suspend("100001", "destination")
    await suspend("200002", "keys")
    const ofOne = async () =>
      (await listSuspensions(current.client, current.name)).map((one) => one.projectId)
    expect(await ofOne()).toHaveLength(2)
    const path = "/resume?project=100001&side=destination"
    expect(await page(path)).toContain("End 1 suspension?")
    expect(await confirm(path)).toContain("1 done")
    expect(await ofOne()).toEqual(["200002"])
    expect(app.logs).toContainEqual(
      expect.objectContaining({ action: "resume", user: "otto", projectId: "100001", side: "destination" }),
    )
  })

  it("ends the pause and all suspensions together", async () => {
    await start()
    await pauseQueue(current.client, current.name)
    await suspend("100001", "source")
    await expect.poll(() => page("/resume"), SOON).toContain("End the pause and 1 suspension?")
    expect(await page("/")).toContain("The queue is paused")
    expect(await confirm("/resume")).toContain("2 done")
    expect(await readPause(current.client, current.name)).toBeNull()
    expect(await page("/resume")).toContain("Nothing to resume")
  })
})

describe("whoever may not act", () => {
  it.each([
    ["a reader", "rita", true, "to act, you need the role operator"],
    ["an operator where actions are off", "otto", false, "UNSEAL_CONSOLE_WRITE=1 permits them"],
  ] as const)("%s sees no button, and is refused each action", async (_, name, writes, why) => {
    await start(writes)
    await giveDeadLetters(current, 1, "100001", 1_000_000, REASON)
    await suspend("100001", "source")
    const headers = app.as(name)
    for (const path of ["/", "/archives/dead", "/archives/suspended"])
      expect(await page(path, headers)).not.toMatch(/href="\/(redrive|resume)/)
    const token = await app.tokenOf(headers)
    for (const path of ["/redrive", "/resume"]) {
      const shown = await app.get(path, headers)
      expect([shown.status, (await shown.text()).includes(why)]).toEqual([403, true])
      const before = new Date().toISOString()
      expect((await app.post(path, { token, before, count: "1" }, headers)).status).toBe(403)
    }
    expect([await deadLetters(), await waiting()]).toEqual([1, 0])
    expect(app.logs.filter(({ action }) => action !== undefined)).toEqual([])
  })
})

it("a redrive that a shutdown stops says what it has done, and a second one waits for the first", async () => {
  await start()
  await giveDeadLetters(current, 300, "100001", 1_000_000, REASON)
  const headers = app.as("otto")
  const form = { token: await app.tokenOf(headers), before: new Date().toISOString(), count: "300" }
  const first = await app.post("/redrive", form, headers)
  expect(first.status).toBe(303)
  const second = await app.post("/redrive", form, headers)
  expect([303, 409]).toContain(second.status)
  await app.close()
  const ends = app.logs.filter(({ msg }) => /^operator's action (is done|was stopped)$/.test(String(msg)))
  const done = ends.reduce((sum, line) => sum + Number(line.done), 0)
  expect(await waiting()).toBe(done)
  expect(await deadLetters()).toBe(300 - done)
})
