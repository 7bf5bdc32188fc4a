import { afterEach, describe, expect, test } from "vitest"
import { createBadDay } from "./bad-day.ts"
import type { Archive, RecordOptions } from "./cloud.ts"
import { startControlServer } from "./control.ts"
import { Quirks } from "./s3/quirks/quirks.ts"

const archive = (id: string): Archive => ({
  id,
  projectId: "123456",
  sessionId: "2_session",
  name: "",
  createdAt: 1384221380000,
  reason: "",
  url: null,
  key: `123456/${id}/archive.ts`,
  tail: "pkcs7",
  status: "uploaded",
  recording: { contentSize: 188, size: 192, encryptedPassword: "e42cd23=" },
  sha256: { plaintext: "00", ciphertext: "ff" },
  callbacks: [
    { status: "uploaded", body: "{}", delivery: { outcome: "accepted", attempts: [503, 202], answer: "" } },
    { status: "stopped", body: "{}", delivery: null },
  ],
})

let close: () => Promise<void> = async () => {}
afterEach(() => close())

const GOOD_DAY = { loseCallbacksEvery: 0, delayCallbacksMs: 0, refuseRequestsEvery: 0 }

async function control(quirks: Quirks | null = null): Promise<{ url: string; asked: RecordOptions[] }> {
  const asked: RecordOptions[] = []
  const server = await startControlServer({
    host: "127.0.0.1",
    port: 0,
    archives: new Map(["older", "newer"].map((id) => [id, archive(id)])),
    badDay: createBadDay(GOOD_DAY, quirks),
    record: (recordings) => void asked.push(...recordings),
  })
  close = server.close
  return { url: `http://127.0.0.1:${server.port}`, asked }
}

const post = (url: string, body: unknown): Promise<Response> =>
  fetch(`${url}/archives`, {
    method: "POST",
    body: typeof body === "string" ? body : JSON.stringify(body),
  })

describe("the control API", () => {
  test("records as many archives as requested", async () => {
    const { url, asked } = await control()
    const response = await post(url, {
      size: 752,
      count: 3,
      tail: "none",
      exact: true,
      statuses: ["uploaded"],
    })
    expect(response.status).toBe(202)
    expect(await response.json()).toEqual({ accepted: 3 })
    const recording = { size: 752, tail: "none", exact: true, statuses: ["uploaded"] }
    expect(asked).toEqual([recording, recording, recording])
  })

  test("records one if no count is given", async () => {
    const { url, asked } = await control()
    expect((await post(url, { size: 0 })).status).toBe(202)
    expect(asked).toEqual([{ size: 0 }])
  })

  test.each([
    ["not JSON", "size=1", "not JSON"],
    ["no size", {}, "size"],
    ["a size below 0", { size: -1 }, "size"],
    ["an exact size that is not a multiple of 16", { size: 17, exact: true }, "multiple of 16"],
    ["a count of 0", { size: 1, count: 0 }, "count"],
    ["an unknown tail", { size: 1, tail: "long" }, "tail"],
    ["an unknown member", { size: 1, sise: 2 }, "sise"],
  ])("refuses %s", async (_what, body, detail) => {
    const { url, asked } = await control()
    const response = await post(url, body)
    expect(response.status).toBe(400)
    expect(response.headers.get("content-type")).toBe("application/problem+json")
    expect(((await response.json()) as { detail: string }).detail).toContain(detail)
    expect(asked).toEqual([])
  })

  test("refuses a body over 16 kB", async () => {
    const { url } = await control()
    expect((await post(url, { size: 1, name: "x".repeat(1_000_000) })).status).toBe(413)
  })

  test("lists archives, newest first, without their passwords", async () => {
    const { url } = await control()
    const text = await (await fetch(`${url}/archives?offset=0`)).text()
    expect(JSON.parse(text)).toEqual(
      ["newer", "older"].map((id) => ({
        id,
        key: `123456/${id}/archive.ts`,
        status: "uploaded",
        size: 192,
        callbacks: [
          { status: "uploaded", outcome: "accepted", attempts: 2 },
          { status: "stopped", outcome: "pending", attempts: null },
        ],
      })),
    )
    expect(text).not.toContain("e42cd23")
  })

  test("shows an archive with everything needed to decrypt it and compare", async () => {
    const { url } = await control()
    expect(await (await fetch(`${url}/archives/older`)).json()).toEqual(archive("older"))
  })

  test.each([
    ["GET", "/archives/unknown", 404],
    ["GET", "/", 404],
    ["GET", "/archives/older/more", 404],
    ["DELETE", "/archives/older", 405],
    ["POST", "/archives/older", 405],
  ])("answers %s %s with %i", async (method, path, status) => {
    const { url } = await control()
    expect((await fetch(url + path, { method })).status).toBe(status)
  })
})

describe("the bad day", () => {
  const patch = (url: string, body: unknown): Promise<Response> =>
    fetch(`${url}/bad-day`, { method: "PATCH", body: JSON.stringify(body) })

  test("is changed in part, and shown as a whole", async () => {
    const quirks = new Quirks(["weak-etags"])
    const { url } = await control(quirks)
    const changed = await patch(url, { loseCallbacksEvery: 3, quirks: ["denied", "slow-down"] })
    expect(await changed.json()).toEqual({
      ...{ ...GOOD_DAY, loseCallbacksEvery: 3 },
      quirks: ["denied", "slow-down"],
    })
    expect(quirks.names()).toEqual(["denied", "slow-down"])
    await patch(url, { refuseRequestsEvery: 2 })
    const shown = await (await fetch(`${url}/bad-day`)).json()
    expect(shown).toMatchObject({
      loseCallbacksEvery: 3,
      refuseRequestsEvery: 2,
      quirks: ["denied", "slow-down"],
    })
    await patch(url, { quirks: [] })
    expect(quirks.names()).toEqual([])
  })

  test("refuses what it does not know, and quirks without a server that could have them", async () => {
    const { url } = await control()
    const unknown = await patch(url, { quirks: ["denid"] })
    expect(unknown.status).toBe(400)
    expect(await unknown.text()).toContain("denied: a store that answers 403")
    expect((await patch(url, { quirk: "denied" })).status).toBe(400)
    expect((await patch(url, { loseCallbacksEvery: -1 })).status).toBe(400)
    expect((await patch(url, { quirks: ["denied"] })).status).toBe(409)
    expect((await fetch(`${url}/bad-day`, { method: "DELETE" })).status).toBe(405)
  })
})
