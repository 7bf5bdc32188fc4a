import { once } from "node:events"
import { gzipSync } from "node:zlib"
import { describe, expect, it } from "vitest"
import { ARCHIVE_ID, PASSWORD, problemOf, uploaded } from "../../../test/harness/ingest/ingest-app.ts"
import { app, start } from "../../../test/harness/ingest/ingest-each.ts"
import { HEAD, open, readToEnd, works } from "../../../test/harness/ingest/ingest-sockets.ts"
import { MAX_BODY_BYTES } from "./body.ts"

describe("a body", () => {
  it("of 16 kB is accepted, one byte more is 413, with and without Content-Length", async () => {
    await start()
    const fill = (size: number) => {
      const shortest = JSON.stringify(uploaded({ name: "" })).length
      return JSON.stringify(uploaded({ name: "x".repeat(size - shortest) }))
    }
    expect((await app.post("/callbacks/100", fill(MAX_BODY_BYTES))).status).toBe(202)
    expect((await problemOf(await app.post("/callbacks/100", fill(MAX_BODY_BYTES + 1)))).status).toBe(413)
    const chunked = (size: number) =>
      fetch(`${app.base}/callbacks/100`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: new Blob([fill(size)]).stream(),
        duplex: "half",
      } as RequestInit)
    expect((await chunked(MAX_BODY_BYTES)).status).toBe(200)
    expect((await problemOf(await chunked(MAX_BODY_BYTES + 1))).status).toBe(413)
    expect((await problemOf(await chunked(1_000_000))).status).toBe(413)
    expect(await app.metrics()).toContain('unseal_callbacks_total{project="100",outcome="too-large"} 3')
  })

  it.each([
    ["of another type", { "content-type": "text/plain" }],
    ["of a type that only begins like JSON", { "content-type": "application/jsonx" }],
    ["of a form", { "content-type": "application/x-www-form-urlencoded" }],
    ["in another charset", { "content-type": "application/json; charset=utf-16" }],
    ["that is compressed", { "content-encoding": "gzip" }],
    ["in an encoding that nobody knows", { "content-encoding": "x" }],
  ])("%s is 415", async (_name, headers: Record<string, string>) => {
    await start()
    const body = headers["content-encoding"] ? gzipSync(JSON.stringify(uploaded())) : uploaded()
    expect((await problemOf(await app.post("/callbacks/100", body, headers))).status).toBe(415)
    expect(app.jobs).toEqual([])
  })

  it.each(["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'])(
    "of type %s is taken",
    async (type) => {
      await start()
      expect((await app.post("/callbacks/100", uploaded(), { "content-type": type })).status).toBe(202)
    },
  )

  it.each<[string, string | Uint8Array]>([
    ["nothing", ""],
    ["half an object", '{"id":'],
    ["text", "c4n4ry"],
    ["not UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ["a NUL", "\0"],
    ["quotes without end", `"${'\\"'.repeat(8_000)}`],
  ])("that holds %s is 400, and is not repeated", async (_name, body) => {
    await start()
    const response = await app.post("/callbacks/100", body)
    expect(response.status).toBe(400)
    expect(JSON.stringify(await problemOf(response))).not.toContain("c4n4ry")
    await works()
  })

  it.each([
    ["lists", "[".repeat(8_000) + "]".repeat(8_000)],
    ["objects", `${'{"a":'.repeat(2_500)}1${"}".repeat(2_500)}`],
    ["lists that never close", "[".repeat(16_000)],
    [
      "17 levels in a callback",
      JSON.stringify(uploaded()).replace("{", `{"x":${"[".repeat(16)}${"]".repeat(16)},`),
    ],
  ])("that is a bomb of %s is 400 before it is parsed", async (_name, body) => {
    await start()
    const problem = await problemOf(await app.post("/callbacks/100", body))
    expect(problem).toMatchObject({ status: 400, detail: "the body is nested more than 16 levels deep" })
  })

  it("may have brackets in its strings: only structure counts as depth", async () => {
    await start()
    const name = `${"[{".repeat(100)}\\"[[[[`
    expect((await app.post("/callbacks/100", uploaded({ name }))).status).toBe(202)
  })

  it("with huge numbers is 400 where they matter and accepted where they don't", async () => {
    await start()
    const text = JSON.stringify(uploaded())
    for (const huge of ["1e400", "9".repeat(400), "18446744073709551616"])
      expect((await app.post("/callbacks/100", text.replace("18023312", huge))).status, huge).toBe(400)
    expect((await app.post("/callbacks/100", text.replace("1384221380000", "1e400"))).status).toBe(202)
  })

  it.each([
    [MAX_BODY_BYTES + 1, /^HTTP\/1\.1 413 /],
    [100, /^HTTP\/1\.1 100 Continue/],
  ])("of %i bytes that is announced with Expect: 100-continue is answered at once", async (size, answer) => {
    await start()
    const socket = await open()
    const answered = once(socket, "data")
    socket.write(`${HEAD}Content-Length: ${size}\r\nExpect: 100-continue\r\n\r\n`)
    expect(String(await answered)).toMatch(answer)
    socket.destroy()
  })

  it("does not pollute prototypes", async () => {
    await start()
    const body = JSON.stringify(uploaded()).replace(
      "{",
      '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},',
    )
    expect((await app.post("/callbacks/100", body)).status).toBe(202)
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
    expect(JSON.stringify(app.jobs)).not.toContain("polluted")
  })

  it("names an archive only by UUID, so that it can't traverse paths", async () => {
    await start()
    for (const id of ["../../secrets", "..%2f..", `${ARCHIVE_ID}/../x`, "\u0000"])
      expect((await app.post("/callbacks/100", uploaded({ id }))).status).toBe(400)
    expect(app.jobs).toEqual([])
  })
})

describe("a path or header", () => {
  it.each([
    ["/callbacks/..%2f..%2fetc%2fpasswd", 401],
    ["/callbacks/%00", 401],
    ["/callbacks/100%0d%0aSet-Cookie:%20x=1", 401],
    ["/callbacks/%zz", 400],
  ])("%s reaches nothing", async (path, status) => {
    await start()
    const response = await app.post(path, uploaded())
    expect(response.status).toBe(status)
    expect(response.headers.get("set-cookie")).toBeNull()
  })

  it("X-Forwarded-… and similar headers change nothing", async () => {
    await start()
    const response = await app.post("/callbacks/123456", uploaded(), {
      ...{ "x-forwarded-for": "216.147.0.1", "x-forwarded-host": "evil", "x-forwarded-proto": "https" },
      ...{ forwarded: "for=127.0.0.1", "x-real-ip": "127.0.0.1", "x-http-method-override": "GET" },
      ...{ "x-original-url": "/callbacks/100", "x-rewrite-url": "/callbacks/100" },
    })
    expect(response.status).toBe(503)
    expect(JSON.stringify([...response.headers])).not.toContain("evil")
    expect(app.jobs).toEqual([])
  })

  it("an invalid traceparent is left out of the job", async () => {
    await start()
    await app.post("/callbacks/100", uploaded(), { traceparent: `00-${"0".repeat(500)}` })
    expect(app.jobs[0]).not.toHaveProperty("traceparent")
  })

  it("with a line break, or endless headers, is refused by the parser", async () => {
    await start()
    for (const head of [
      `${HEAD}X: a\rb\r\n\r\n`,
      `${HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      `${HEAD}X: ${"a".repeat(20_000)}\r\n\r\n`,
    ]) {
      const socket = await open()
      const answer = readToEnd(socket)
      socket.write(head)
      expect(await answer).toMatch(/^HTTP\/1\.1 4\d\d /)
    }
    expect(app.jobs).toEqual([])
    await works()
  })
})

describe("a slow sender", () => {
  const limits = { headersTimeoutMs: 300, requestTimeoutMs: 600, checkIntervalMs: 50 }

  it.each([
    ["nothing at all", "", ""],
    ["headers without end", HEAD, "X: y\r\n"],
    ["a body without end", `${HEAD}Content-Length: 1000\r\n\r\n{`, " "],
    ["chunks without end", `${HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n`, "1\r\n \r\n"],
  ])("of %s loses its connection, and others don't wait for it", async (_name, first, more) => {
    await start({ limits })
    const socket = await open()
    const ended = readToEnd(socket)
    socket.write(first)
    await works()
    const dribble = setInterval(() => socket.write(more), 50)
    const answer = await ended
    clearInterval(dribble)
    // 503, so that the vendor sends it again, unless the connection is gone before the answer can be read.
    expect(answer).toMatch(/^(HTTP\/1\.1 503 Service Unavailable\r\nRetry-After: 5\r\n|$)/)
    expect(app.logs).toContainEqual(expect.objectContaining({ msg: "connection cut", reason: "slow" }))
    expect(app.jobs).toHaveLength(1)
  })

  it("that gives up mid-body leaves an aborted callback and no job", async () => {
    await start()
    const socket = await open()
    await new Promise<void>((resolve) =>
      socket.write(`${HEAD}Content-Length: 1000\r\n\r\n{`, () => resolve()),
    )
    await fetch(`${app.base}/openapi.json`).then((response) => response.text())
    socket.destroy()
    while (app.logs.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
    expect(app.logs[0]).toMatchObject({ outcome: "aborted", projectId: "100" })
    expect(app.jobs).toEqual([])
  })
})

describe("answers and log lines", () => {
  it("never repeat a password, whatever is wrong with the callback", async () => {
    await start()
    const texts: string[] = []
    for (const changes of [
      {},
      { id: 1 },
      { status: 1 },
      { partnerId: 5 },
      { size: "x" },
      { password: `${PASSWORD}${"x".repeat(5_000)}` },
    ])
      texts.push(await (await app.post("/callbacks/100", uploaded(changes))).text())
    texts.push(await (await app.post("/callbacks/100", `${JSON.stringify(uploaded())}}`)).text())
    texts.push(JSON.stringify(app.logs))
    const hex = Buffer.from(PASSWORD, "base64").toString("hex")
    expect(texts.join()).not.toMatch(new RegExp(`${PASSWORD.slice(0, 20)}|${hex.slice(0, 20)}|c4n4ry`))
  })
})
