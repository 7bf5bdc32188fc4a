import { randomUUID } from "node:crypto"
import { request as httpRequest } from "node:http"
import { text } from "node:stream/consumers"
import { afterEach, describe, expect, it } from "vitest"
import { type ConsoleApp, PASSWORD_OF, startConsoleApp } from "../../../test/harness/console-app.ts"
import { useQueue } from "../../../test/harness/queue.ts"
import { IDLE_MS, LONGEST_MS } from "./access/sessions.ts"

const current = useQueue("console")
let app: ConsoleApp
const start = async (options?: Parameters<typeof startConsoleApp>[1]) => {
  app = await startConsoleApp(current, options)
}
afterEach(() => app.close())

const signIn = (name: string, password: string, to = "/") => app.post("/sign-in", { name, password, to })
const statusOf = async (path: string, headers: Record<string, string>) =>
  (await app.get(path, headers)).status

/** A request with a `Host` of our choice, which `fetch` does not permit. */
async function withHost(host: string, path: string, headers: Record<string, string> = {}) {
  const { hostname, port } = new URL(app.base)
  const { promise, resolve, reject } = Promise.withResolvers<{
    status: number
    body: string
    cookie: string
  }>()
  const sent = httpRequest({ hostname, port, path, headers: { host, ...headers } }, async (answer) =>
    resolve({
      status: answer.statusCode!,
      body: await text(answer),
      cookie: answer.headers["set-cookie"]?.[0] ?? "",
    }),
  )
  sent.on("error", reject)
  sent.end()
  return promise
}

describe("signing in", () => {
  it("leads from any page through the form and back, with a cookie that scripts can't read", async () => {
    await start()
    const refused = await app.get("/archives/dead?code=ERR_STALLED")
    expect([refused.status, refused.headers.get("location")]).toEqual([
      303,
      "/sign-in?to=%2Farchives%2Fdead%3Fcode%3DERR_STALLED",
    ])
    const form = await (await app.get(refused.headers.get("location")!)).text()
    expect(form).toContain('name="to" value="/archives/dead?code=ERR_STALLED"')
    const answer = await signIn("rita", PASSWORD_OF.rita, "/archives/dead?code=ERR_STALLED")
    expect([answer.status, answer.headers.get("location")]).toEqual([303, "/archives/dead?code=ERR_STALLED"])
    const cookie = answer.headers.get("set-cookie")!
    expect(cookie).toMatch(/^unseal=[\w.-]+; Path=\/; HttpOnly; SameSite=Strict; Max-Age=43200$/)
    expect(await statusOf("/", { cookie: cookie.split(";")[0]! })).toBe(200)
    expect(app.logs).toContainEqual(
      expect.objectContaining({ msg: "signed in", user: "rita", role: "reader" }),
    )
    expect(JSON.stringify(app.logs)).not.toContain(PASSWORD_OF.rita)
  })

  it("answers alike to a wrong password and an unknown name, and logs neither", async () => {
    await start()
    const wrong = await signIn("rita", "not her password at all")
    const unknown = await signIn("nobody-of-that-name", "not her password at all")
    expect([wrong.status, unknown.status]).toEqual([401, 401])
    const said = async (answer: Response) => /role="alert">([^<]+)/.exec(await answer.text())![1]
    expect(await said(wrong)).toBe(await said(unknown))
    expect(wrong.headers.get("set-cookie")).toBeNull()
    expect(JSON.stringify(app.logs)).not.toMatch(/nobody-of-that-name|not her password/)
    expect(await app.metrics()).toContain('unseal_console_sign_ins_total{outcome="wrong"} 2')
  })

  it.each([
    ["//evil.example/x", "/"],
    ["https://evil.example/", "/"],
    ["/\\evil.example", "/"],
    ["/.//evil.example", "/"],
    ["javascript:alert(1)", "/"],
    ["/jobs/a?b=c", "/jobs/a?b=c"],
  ])("leads from %s to %s", async (to, led) => {
    await start()
    expect((await signIn("rita", PASSWORD_OF.rita, to)).headers.get("location")).toBe(led)
  })

  it("is refused after ten failures of an address, with the right password too, until ten minutes are over", async () => {
    let now = 1_000_000
    await start({ now: () => now })
    for (let tries = 0; tries < 10; tries++) expect((await signIn("rita", `wrong ${tries}`)).status).toBe(401)
    const refused = await signIn("rita", PASSWORD_OF.rita)
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "600"])
    expect(await refused.text()).toContain("Try again in 10 min")
    now += 10 * 60_000
    expect((await signIn("rita", PASSWORD_OF.rita)).status).toBe(303)
  })

  it("checks no more than a few passwords at once, each of which takes memory", async () => {
    await start()
    const all = await Promise.all(Array.from({ length: 12 }, () => signIn("otto", PASSWORD_OF.otto)))
    const statuses = all.map(({ status }) => status).toSorted()
    expect(statuses).toContain(303)
    expect(statuses.filter((status) => status !== 303).every((status) => [429, 503].includes(status))).toBe(
      true,
    )
    expect(statuses).not.toContain(500)
  })
})

describe("a session", () => {
  it("ends when somebody signs out, for every copy of its cookie", async () => {
    await start()
    const headers = app.as("rita")
    const answer = await app.post("/sign-out", { token: await app.tokenOf(headers) }, headers)
    expect(answer.headers.get("set-cookie")).toContain("Max-Age=0")
    expect(await statusOf("/", headers)).toBe(303)
    expect(app.logs).toContainEqual(expect.objectContaining({ msg: "signed out", user: "rita" }))
  })

  it("ends half an hour after the last request, and twelve hours after it began in any case", async () => {
    let now = Date.now()
    await start({ now: () => now })
    let headers = app.as("rita")
    now += IDLE_MS - 1
    const renewed = await app.get("/", headers)
    expect(renewed.status).toBe(200)
    headers = { cookie: renewed.headers.get("set-cookie")!.split(";")[0]! }
    now += IDLE_MS + 1
    expect(await statusOf("/", headers)).toBe(303)
    headers = app.as("rita")
    const begun = now
    while (now - begun <= LONGEST_MS - IDLE_MS) {
      now += IDLE_MS / 2
      const answer = await app.get("/", headers)
      expect(answer.status).toBe(200)
      headers = { cookie: answer.headers.get("set-cookie")!.split(";")[0]! }
    }
    now = begun + LONGEST_MS + 1
    expect(await statusOf("/", headers)).toBe(303)
  })

  it("ends when the user is removed, or has another password or role", async () => {
    await start()
    const rita = app.users.get("rita")!
    for (const change of [
      () => app.users.delete("rita"),
      () => app.users.set("rita", { ...rita, role: "operator" }),
      () => app.users.set("rita", { ...rita, hash: app.users.get("otto")!.hash }),
    ]) {
      app.users.set("rita", rita)
      const headers = app.as("rita")
      expect(await statusOf("/", headers)).toBe(200)
      change()
      expect(await statusOf("/", headers)).toBe(303)
    }
  })

  it("belongs to nobody if its cookie was changed, cut, doubled, or signed elsewhere", async () => {
    await start()
    const value = app.as("rita").cookie!.slice("unseal=".length)
    const [body = "", signature = ""] = value.split(".")
    const other = Buffer.from(
      JSON.stringify({ ...JSON.parse(Buffer.from(body, "base64url").toString()), name: "otto" }),
    )
    const elsewhere = await startConsoleApp(current)
    await elsewhere.close()
    for (const cookie of [
      `unseal=${other.toString("base64url")}.${signature}`,
      `unseal=${body}.`,
      `unseal=${body}`,
      "unseal=",
      `unseal=${value}; unseal=${value}`,
      `unseal=${body}.${signature.slice(0, -2)}AA`,
      `__Host-unseal=${value}`,
    ])
      expect(await statusOf("/", { cookie }), cookie).toBe(303)
    expect(await statusOf("/", { cookie: `a=b; unseal=${value}` })).toBe(200)
  })
})

describe("every answer", () => {
  it("forbids frames, foreign and inline scripts, copies, and guessing its type", async () => {
    await start()
    const style = /href="(\/assets\/console\.css[^"]*)"/.exec(await (await app.get("/sign-in")).text())![1]!
    for (const [path, headers] of [
      ["/", app.as("rita")],
      ["/sign-in", {}],
      ["/nothing", app.as("rita")],
      [style, {}],
    ] as const) {
      const answer = await app.get(path, headers)
      const policy = answer.headers.get("content-security-policy")!
      expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'")
      expect(policy).toContain("frame-ancestors 'none'")
      expect(policy).not.toContain("unsafe")
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff")
      expect(answer.headers.get("x-powered-by")).toBeNull()
      expect(answer.headers.get("cache-control")).toMatch(path === style ? /immutable/ : /^no-store$/)
    }
  })

  it("has no inline style or script, and nothing from another origin, on any page", async () => {
    await start()
    for (const path of ["/", "/archives/dead", "/actions", "/search?q=0000"]) {
      const html = await (await app.get(path, app.as("otto"))).text()
      expect(html).not.toMatch(/ style="| on\w+="|<style|<script(?! type="module" src="\/)/)
      expect(html).not.toMatch(/(src|href|action)="(https?:|\/\/)/)
    }
  })
})

describe("the name in the address bar", () => {
  it("is an address, localhost or the public URL: under another site's name there is no page", async () => {
    await start({ publicUrl: new URL("https://unseal.example.com") })
    const { cookie } = app.as("rita")
    for (const host of ["127.0.0.1:8081", "localhost:8081", "[::1]:8081", "LOCALHOST"])
      expect((await withHost(host, "/", { cookie: cookie! })).status, host).toBe(200)
    for (const host of ["evil.example", "unseal.example.com.evil.example", "localhost.evil.example", "a b"])
      expect([400, 421], host).toContain((await withHost(host, "/", { cookie: cookie! })).status)
  })

  it("with TLS in front, has a cookie that is sent over TLS only", async () => {
    await start({ publicUrl: new URL("https://unseal.example.com") })
    const value = app.as("rita").cookie!.slice("unseal=".length)
    const host = "unseal.example.com"
    expect((await withHost(host, "/", { cookie: `__Host-unseal=${value}` })).status).toBe(200)
    // Set over plain HTTP by whoever can change what passes there.
    expect((await withHost(host, "/", { cookie: `unseal=${value}` })).status).toBe(303)
  })
})

describe("a form", () => {
  it("is accepted only with the token of its session, from a page of the console", async () => {
    await start({ writes: true })
    const [otto, rita] = [app.as("otto"), app.as("rita")]
    const token = await app.tokenOf(otto)
    const send = async (fields: Record<string, string>, headers: Record<string, string>) =>
      (await app.post("/sign-out", fields, { ...otto, ...headers })).status
    expect(await send({}, {})).toBe(403)
    expect(await send({ token: "x" }, {})).toBe(403)
    expect(await send({ token: await app.tokenOf(rita) }, {})).toBe(403)
    expect(await send({ token }, { origin: "https://evil.example" })).toBe(403)
    expect(await send({ token }, { origin: "null" })).toBe(403)
    expect(await statusOf("/", otto)).toBe(200)
    expect(await send({ token }, {})).toBe(303)
  })

  it("without an origin is accepted only if the browser says that it is the same one", async () => {
    await start()
    const post = (headers: Record<string, string>) =>
      fetch(`${app.base}/sign-in`, {
        method: "POST",
        body: new URLSearchParams({ name: "x", password: "y" }),
        headers,
      })
    expect((await post({})).status).toBe(403)
    expect((await post({ "sec-fetch-site": "cross-site" })).status).toBe(403)
    expect((await post({ "sec-fetch-site": "same-origin" })).status).toBe(401)
  })

  it("that is too large, or not a form, is refused, and so are other methods", async () => {
    await start()
    const headers = { ...app.as("otto"), origin: app.base }
    const large = { method: "POST", headers, body: new URLSearchParams({ token: "x".repeat(20_000) }) }
    expect((await fetch(`${app.base}/sign-out`, large)).status).toBe(400)
    const json = { method: "POST", headers: { ...headers, "content-type": "application/json" }, body: "{}" }
    expect((await fetch(`${app.base}/sign-out`, json)).status).toBe(403)
    for (const method of ["PUT", "DELETE", "OPTIONS"])
      expect((await fetch(app.base, { method, headers })).status, method).toBe(405)
  })
})

it("a page of an unknown path, state, job or action is a page that says so", async () => {
  await start({ writes: true })
  for (const path of ["/x", "/archives/x", `/jobs/${randomUUID()}`, "/actions/x", "/assets/x"])
    expect(await statusOf(path, app.as("otto")), path).toBe(404)
  expect(await statusOf("/redrive?code=ERR_X", app.as("otto"))).toBe(400)
  expect(await statusOf("/resume?side=x", app.as("otto"))).toBe(400)
})
