import { createServer, type IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { createVendorClient, type VendorClientOptions } from "./client.ts"
import type { Storage } from "./storage.ts"
import { VendorError } from "./vendor-error.ts"

const PROJECT = "123456"
const ARCHIVE = "b40ef09b-3811-4726-b508-e41a0f96c68f"
const SECRET = "canary-api-secret"
const never = new AbortController().signal

interface Answer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
  /** Closes the connection instead of answering. */
  readonly reset?: true
  /** Never answers. */
  readonly hang?: true
  /** Keeps sending for as long as somebody reads. */
  readonly endless?: true
}

/** The server sends these answers in turn and repeats the last one. */
let answers: Answer[]
let requests: { method: string; url: string; headers: IncomingMessage["headers"]; body: string }[]
const server = createServer(async (request, response) => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  const { method = "", url = "", headers } = request
  requests.push({ method, url, headers, body: Buffer.concat(chunks).toString() })
  const answer = answers.length > 1 ? answers.shift()! : answers[0]!
  if (answer.hang) return
  if (answer.reset) return void request.socket.destroy()
  const { body } = answer
  if (answer.endless) {
    const more = () => {
      while (!response.destroyed && response.write(Buffer.alloc(1024 * 1024, " ")));
    }
    response.on("drain", more)
    return more()
  }
  response.writeHead(answer.status ?? 200, { "content-type": "application/json", ...answer.headers })
  response.end(typeof body === "string" ? body : JSON.stringify(body ?? {}))
})
let baseUrl: string

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})
beforeEach(() => {
  answers = [{}]
  requests = []
})

const client = (options: Partial<VendorClientOptions> = {}) =>
  createVendorClient({
    platform: "opentok",
    projectId: PROJECT,
    credentials: { scheme: "opentok", apiSecret: SECRET },
    baseUrl,
    baseMs: 1,
    ...options,
  })

const archive = (id: string, more: object = {}) => ({ id, status: "uploaded", ...more })

describe("an archive", () => {
  it("has the fields that Unseal uses, and no others", async () => {
    answers = [
      {
        body: {
          id: ARCHIVE.toUpperCase(),
          status: "available",
          password: "e42cd23=",
          url: "https://example.com/archive?Signature=x",
          size: "18023312",
          sha256sum: "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
          createdAt: 1384221380000,
          projectId: 123456,
          applicationId: "78d335fa-323d-0114-9c3d-d6f0d48968cf",
          streams: [{ streamId: "x" }],
          __proto__: { polluted: true },
        },
      },
    ]
    expect(await client().getArchive(ARCHIVE, never)).toEqual({
      archiveId: ARCHIVE,
      status: "available",
      encryptedPassword: "e42cd23=",
      url: "https://example.com/archive?Signature=x",
      size: 18_023_312,
      sha256sum: "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
      createdAt: 1384221380000,
      projectId: PROJECT,
    })
    expect(requests).toMatchObject([{ method: "GET", url: `/v2/project/${PROJECT}/archive/${ARCHIVE}` }])
    expect(requests[0]!.headers["x-opentok-auth"]).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/)
  })

  it("has no field that the vendor leaves empty", async () => {
    answers = [
      { body: archive(ARCHIVE, { password: "", url: null, sha256sum: "", size: 0, partnerId: null }) },
    ]
    expect(await client().getArchive(ARCHIVE, never)).toEqual({
      archiveId: ARCHIVE,
      status: "uploaded",
      size: 0,
    })
  })

  it("is null if the vendor has none", async () => {
    answers = [{ status: 404 }]
    expect(await client().getArchive(ARCHIVE, never)).toBeNull()
    expect(requests).toHaveLength(1)
  })

  it.each([
    ["no JSON", "canary-password {"],
    ["no archive", { items: [] }],
    ["an id that is none", archive("../../etc/passwd", { password: "canary-password" })],
    ["an endless status", archive(ARCHIVE, { status: "x".repeat(65) })],
  ])("is not understood, and not quoted, if the answer is %s", async (_, body) => {
    answers = [{ body }]
    const failure = client().getArchive(ARCHIVE, never)
    await expect(failure).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE", status: 200 })
    await expect(failure).rejects.not.toThrow(/canary/)
  })
})

describe("a list of archives", () => {
  it("is requested in overlapping pages, and ends by itself", async () => {
    const ids = Array.from(
      { length: 25 },
      (_, index) => `00000000-0000-4000-8000-0000000000${String(index).padStart(2, "0")}`,
    )
    const given: string[] = []
    answers = [0, 8, 16, 23].map((offset) => ({
      body: { count: 25, items: ids.slice(offset, offset + 10).map((id) => archive(id)) },
    }))
    for await (const { archiveId } of client().listArchives({ pageSize: 10, overlap: 2 }, never))
      given.push(archiveId)
    expect(given).toEqual(ids)
    expect(requests.map(({ url }) => url)).toEqual(
      [0, 8, 16, 23].map((offset) => `/v2/project/${PROJECT}/archive?offset=${offset}&count=10`),
    )
  })

  it.each([0, 1_001, 1.5])("can't have pages of %d", (pageSize) => {
    expect(() => client().listArchives({ pageSize }, never)).toThrow(RangeError)
  })

  it("fails if the project does not exist", async () => {
    answers = [{ status: 404 }]
    await expect(Array.fromAsync(client().listArchives({}, never))).rejects.toMatchObject({
      code: "ERR_STORE_DENIED",
      status: 404,
    })
  })
})

describe("a storage", () => {
  const storage: Storage = {
    type: "s3",
    config: { bucket: "archives", accessKey: "AKID", secretKey: "canary-secret-key" },
    fallback: "none",
    certificate: null,
  }

  it("is put as JSON", async () => {
    await client().setStorage(storage, never)
    expect(requests).toMatchObject([{ method: "PUT", url: `/v2/project/${PROJECT}/archive/storage` }])
    expect(requests[0]!.headers["content-type"]).toBe("application/json")
    expect(JSON.parse(requests[0]!.body)).toEqual(storage)
  })

  it.each([
    [400, "ERR_STORE_DENIED", /invalid JSON, or no upload target/],
    [401, "ERR_STORE_DENIED", /not authenticated/],
    [403, "ERR_STORE_DENIED", /the project id or the secret is wrong/],
    [404, "ERR_STORE_DENIED", /no such project/],
    [418, "ERR_STORE_DENIED", /418/],
    [500, "ERR_STORE_UNAVAILABLE", /500/],
  ])("is not put again after %d, which is a plain sentence without secrets", async (status, code, words) => {
    answers = [{ status, body: { message: `no bucket archives\nfor ${SECRET} and canary-secret-key` } }]
    const failure = client().setStorage(storage, never)
    await expect(failure).rejects.toMatchObject({ name: "UnsealError", code, status })
    await expect(failure).rejects.toThrow(words)
    await expect(failure).rejects.toThrow("; it says: no bucket archives for *** and ***")
    await expect(failure).rejects.not.toThrow(/canary/)
    await expect(failure).rejects.toHaveProperty("remedy", expect.not.stringContaining("bucket"))
    expect(requests).toHaveLength(1)
  })

  it.each([429, 503])("is put again after %d with Retry-After: nothing was done", async (status) => {
    answers = [{ status, headers: { "retry-after": "0" } }, {}]
    await client().setStorage(storage, never)
    expect(requests).toHaveLength(2)
  })

  it("does not follow a redirect, which would send the secrets elsewhere", async () => {
    answers = [{ status: 307, headers: { location: `${baseUrl}/elsewhere` } }]
    await expect(client().setStorage(storage, never)).rejects.toThrow("307")
    expect(requests).toHaveLength(1)
  })
})

describe("a GET", () => {
  const ask = (options?: Partial<VendorClientOptions>, signal = never) =>
    client(options).getArchive(ARCHIVE, signal)

  it.each<[string, Answer]>([
    ["500", { status: 500 }],
    ["502", { status: 502 }],
    ["429", { status: 429 }],
    ["429 with Retry-After", { status: 429, headers: { "retry-after": "0" } }],
    ["a broken connection", { reset: true }],
  ])("is asked again after %s, each time with a new token", async (_, answer) => {
    answers = [answer, answer, { body: archive(ARCHIVE) }]
    expect(await ask()).toMatchObject({ archiveId: ARCHIVE })
    expect(new Set(requests.map(({ headers }) => headers["x-opentok-auth"])).size).toBe(3)
  })

  it.each<[string, Answer]>([
    ["5xx", { status: 503 }],
    ["429", { status: 429, headers: { "retry-after": "0" } }],
    ["broken connections", { reset: true }],
  ])("is given up after so many attempts that ended in %s", async (_, answer) => {
    answers = [answer]
    await expect(ask({ attempts: 4 })).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
    expect(requests).toHaveLength(4)
  })

  it.each([400, 401, 403])("is not repeated after %d", async (status) => {
    answers = [{ status }]
    await expect(ask()).rejects.toMatchObject({ code: "ERR_STORE_DENIED", status })
    expect(requests).toHaveLength(1)
  })

  it("waits as long as Retry-After says", async () => {
    answers = [{ status: 429, headers: { "retry-after": "1" } }, { body: archive(ARCHIVE) }]
    const before = performance.now()
    await ask()
    expect(performance.now() - before).toBeGreaterThanOrEqual(990)
  })

  it("is not repeated before Retry-After, and fails at once if that is too long", async () => {
    answers = [{ status: 503, headers: { "retry-after": "120" } }]
    const failure = ask({ maxPauseMs: 60_000 })
    await expect(failure).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE", retryAfterMs: 120_000 })
    await expect(failure).rejects.toThrow("120 s")
    expect(requests).toHaveLength(1)
  })

  it("has a time limit", async () => {
    answers = [{ hang: true }]
    await expect(ask({ timeoutMs: 200, attempts: 2 })).rejects.toThrow("no answer within 0.2 s")
    expect(requests).toHaveLength(2)
  })

  it("gives up an answer that does not end", async () => {
    answers = [{ endless: true }]
    await expect(ask({ attempts: 1 })).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
      message: "the vendor's answer is over 67108864 bytes",
      remedy: expect.stringContaining("check the base URL"),
    })
  })

  it.each<[string, Answer]>([
    ["is asked", { hang: true }],
    ["waits", { status: 429, headers: { "retry-after": "30" } }],
  ])("ends with the reason of an abort while it %s", async (_, answer) => {
    answers = [answer]
    const controller = new AbortController()
    const reason = new Error("enough")
    const asked = ask({}, controller.signal)
    while (requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    controller.abort(reason)
    await expect(asked).rejects.toBe(reason)
  })

  it("says what is wrong when nothing listens", async () => {
    const unused = createServer()
    await new Promise<void>((resolve) => unused.listen(0, "127.0.0.1", resolve))
    const { port } = unused.address() as AddressInfo
    await new Promise((resolve) => unused.close(resolve))
    const asked = ask({ baseUrl: `http://127.0.0.1:${port}`, attempts: 2 })
    await expect(asked).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE", status: null })
    await expect(asked).rejects.toThrow(`127.0.0.1:${port} could not be asked to tell of archive`)
    await expect(asked).rejects.toThrow("ECONNREFUSED")
  })
})

describe("a refusal", () => {
  const refused = async (answer: Answer) => {
    answers = [{ status: 403, ...answer }]
    const failure: unknown = await client({ attempts: 1 })
      .getArchive(ARCHIVE, never)
      .catch((error: unknown) => error)
    if (failure instanceof VendorError) return failure
    throw new Error(`not refused: ${failure}`)
  }

  it.each<[string, unknown, string | null]>([
    [
      "of OpenTok's form",
      { code: -1, message: "Invalid token", description: "issued time cannot be greater than current time" },
      "Invalid token; issued time cannot be greater than current time",
    ],
    [
      "of Vonage's form",
      {
        type: "https://developer.vonage.com",
        title: "Unauthorized",
        detail: "You did not provide correct credentials.",
      },
      "You did not provide correct credentials.; Unauthorized",
    ],
    ["of plain text", "no such\u0000 key\n", "no such key"],
    ["that is a JSON string", JSON.stringify("quota exceeded"), "quota exceeded"],
    ["of a page of a gateway", "<html>Forbidden</html>", null],
    ["of nothing", "", null],
    ["without a sentence", { code: 403, message: 7 }, null],
    ["without end", { message: "x".repeat(100_000) }, `${"x".repeat(300)}…`],
  ])("shows the words of the vendor %s", async (_, body, words) => {
    const { message } = await refused({ body })
    expect(message).toBe(
      `the vendor refused to tell of archive ${ARCHIVE}: the project id or the secret is wrong, or the project may not do this (403)${words === null ? "" : `; it says: ${words}`}`,
    )
  })

  it("quotes the vendor's words for a busy vendor and a wrong path, too", async () => {
    expect((await refused({ status: 503, body: { message: "maintenance" } })).message).toContain(
      "maintenance",
    )
    answers = [{ status: 404, body: { message: "Not Found: /v2" } }]
    await expect(Array.fromAsync(client().listArchives({}, never))).rejects.toThrow(
      "; it says: Not Found: /v2",
    )
  })

  it("never repeats the token", async () => {
    answers = [{ status: 403, body: { message: "bad" } }]
    const echo = createServer((request, response) => {
      response.writeHead(403).end(`you sent ${request.headers.authorization}`)
    })
    await new Promise<void>((resolve) => echo.listen(0, "127.0.0.1", resolve))
    const credentials = { scheme: "basic", apiSecret: SECRET } as const
    const url = `http://127.0.0.1:${(echo.address() as AddressInfo).port}`
    const failure = client({ baseUrl: url, credentials }).getArchive(ARCHIVE, never)
    await expect(failure).rejects.toThrow("; it says: you sent ***")
    await new Promise((resolve) => echo.close(resolve))
  })

  it.each([
    [-95, "this machine's clock is 95 s ahead of the vendor's, or the project id"],
    [600, "this machine's clock is 600 s behind the vendor's, or the project id"],
  ])("says how far the clock is off when the vendor's is %d s off ours", async (seconds, words) => {
    const date = new Date(Math.round(Date.now() / 1_000 + seconds) * 1_000).toUTCString()
    const { message, remedy } = await refused({ headers: { date } })
    expect(message.replace(/clock is \d+ s/, (found) => rounded(found, Math.abs(seconds)))).toContain(words)
    expect(remedy).toMatch(/^set this machine's clock \(NTP\); if that does not help, check the project id/)
  })

  /** The test itself may take a second or so. */
  const rounded = (found: string, seconds: number) =>
    Math.abs(Number(/\d+/.exec(found)![0]) - seconds) <= 9 ? `clock is ${seconds} s` : found

  it("does not blame a right clock, nor any clock that can't be the reason", async () => {
    expect((await refused({})).message).not.toContain("clock")
    const date = new Date(Date.now() - 3_600_000).toUTCString()
    expect((await refused({ status: 400, headers: { date } })).message).not.toContain("clock")
  })
})

describe("a base URL", () => {
  it("may have a path and a slash at its end", async () => {
    answers = [{ body: archive(ARCHIVE) }]
    await client({ baseUrl: `${baseUrl}/proxy/` }).getArchive(ARCHIVE, never)
    expect(requests[0]!.url).toBe(`/proxy/v2/project/${PROJECT}/archive/${ARCHIVE}`)
  })

  it.each([
    "ftp://example.com",
    "example.com",
    "https://a:canary@example.com",
    "https://example.com/?x=canary",
  ])("is refused, and not quoted: %s", (given) => {
    expect(() => client({ baseUrl: given })).toThrow(RangeError)
    expect(() => client({ baseUrl: given })).not.toThrow(/canary/)
  })
})
