import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { describe, expect, it } from "vitest"
import {
  ARCHIVE,
  archive,
  baseUrl,
  type CannedResponse,
  client,
  never,
  PROJECT,
  requests,
  SECRET,
  vendor,
} from "../../../test/harness/vendor-server.ts"
import { VendorError } from "./vendor-error.ts"

describe("a refusal", () => {
  const refused = async (response: CannedResponse) => {
    vendor.answers = [{ status: 403, ...response }]
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
    vendor.answers = [{ status: 404, body: { message: "Not Found: /v2" } }]
    await expect(Array.fromAsync(client().listArchives({}, never))).rejects.toThrow(
      "; it says: Not Found: /v2",
    )
  })

  it("never repeats the token", async () => {
    vendor.answers = [{ status: 403, body: { message: "bad" } }]
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
    vendor.answers = [{ body: archive(ARCHIVE) }]
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
