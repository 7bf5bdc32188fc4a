import { describe, expect, it } from "vitest"
import { CallbackError, readCallback } from "./callback.ts"

const ARCHIVE_ID = "30b3ebf1-ba36-4f5b-8def-6f70d9986fe9"
const APPLICATION_ID = "78d335fa-323d-0114-9c3d-d6f0d48968cf"
const PASSWORD = Buffer.from("a password, as if it were encrypted").toString("base64")

/** The vendor's example with changes. */
const uploaded = (changes: object = {}): Record<string, unknown> => ({
  id: ARCHIVE_ID,
  event: "archive",
  createdAt: 1_384_221_380_000,
  duration: 328,
  name: "Foo",
  partnerId: 100,
  reason: "",
  sessionId: "2_MX40NzIwMzJ-flR1ZSBPERUDIwMTN-MC45NDQ2MzE2NH4",
  size: 18_023_312,
  status: "uploaded",
  password: PASSWORD,
  ...changes,
})

const refusal = (json: unknown, projectId = "100"): CallbackError => {
  try {
    readCallback(json, projectId)
  } catch (error) {
    if (error instanceof CallbackError) return error
    throw error
  }
  throw new Error("accepted")
}

describe("readCallback", () => {
  it("keeps the URL of an available archive if it is https", () => {
    const urlOf = (changes: object) => {
      const callback = readCallback(uploaded({ status: "available", ...changes }), "100")
      return "ignored" in callback ? "ignored" : callback.url
    }
    const url = "https://s3.amazonaws.com/tokbox.com.archive2/100/archive.mp4?X-Amz-Signature=abc%2F"
    expect(urlOf({ url })).toBe(url)
    expect(urlOf({ url, status: "uploaded" })).toBeUndefined()
    for (const wrong of [
      "",
      null,
      7,
      {},
      "http://example.com",
      "https://",
      "//example.com",
      "file:///etc/passwd",
    ])
      expect(urlOf({ url: wrong })).toBeUndefined()
    expect(urlOf({ url: `https://example.com/${"a".repeat(8_192)}` })).toBeUndefined()
  })

  it("keeps what the job needs, in a new object", () => {
    expect(readCallback(uploaded({ streams: [{ id: "x" }], resolution: "640x480" }), "100")).toEqual({
      archiveId: ARCHIVE_ID,
      status: "uploaded",
      projectId: "100",
      encryptedPassword: PASSWORD,
      size: 18_023_312,
    })
  })

  it.each([
    ["12", 12],
    ["0", 0],
    [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    [null, undefined],
    [undefined, undefined],
  ])("understands the size %j", (size, expected) => {
    expect(readCallback(uploaded({ size }), "100")).toMatchObject({ archiveId: ARCHIVE_ID })
    expect((readCallback(uploaded({ size }), "100") as { size?: number }).size).toBe(expected)
  })

  it.each([
    "1e3",
    "-1",
    -1,
    1.5,
    2 ** 53,
    1e300,
    Number.POSITIVE_INFINITY,
    "",
    " 1",
    true,
    {},
    "9".repeat(16),
  ])("refuses the size %j", (size) => {
    expect(refusal(uploaded({ size })).fields.map(({ pointer }) => pointer)).toEqual(["#/size"])
  })

  it("takes the archive's id in any case, and only a UUID", () => {
    expect(readCallback(uploaded({ id: ARCHIVE_ID.toUpperCase() }), "100")).toMatchObject({
      archiveId: ARCHIVE_ID,
    })
    for (const id of [
      undefined,
      null,
      1,
      "",
      "../../etc/passwd",
      `${ARCHIVE_ID}/..`,
      `${ARCHIVE_ID}\n`,
      `{${ARCHIVE_ID}}`,
    ])
      expect(refusal(uploaded({ id })).fields, String(id)).toEqual([
        { pointer: "#/id", detail: "must be a UUID" },
      ])
  })

  it.each([
    ["100", { partnerId: 100 }],
    ["100", { partnerId: "100" }],
    ["100", { partnerId: undefined, projectId: 100 }],
    ["100", { partnerId: 100, projectId: "100", applicationId: APPLICATION_ID }],
    ["100", { partnerId: undefined }],
    ["100", { partnerId: null, applicationId: "" }],
    [APPLICATION_ID, { partnerId: undefined, applicationId: APPLICATION_ID.toUpperCase() }],
    [APPLICATION_ID, { partnerId: 100, applicationId: APPLICATION_ID }],
  ])("recognises project %s in %j", (projectId, fields) => {
    expect(readCallback(uploaded(fields), projectId)).toMatchObject({ archiveId: ARCHIVE_ID })
  })

  it.each([
    ["100", { partnerId: 101 }, ["#/partnerId"]],
    ["100", { partnerId: 100, projectId: 101 }, ["#/projectId"]],
    ["100", { partnerId: undefined, applicationId: APPLICATION_ID }, ["#/applicationId"]],
    ["100", { partnerId: 100.5 }, ["#/partnerId"]],
    ["100", { partnerId: "0100" }, ["#/partnerId"]],
    [APPLICATION_ID, { partnerId: 100 }, ["#/partnerId"]],
    [APPLICATION_ID, { partnerId: undefined, applicationId: ARCHIVE_ID }, ["#/applicationId"]],
  ])("finds that %s is not the project in %j", (projectId, fields, pointers) => {
    expect(refusal(uploaded(fields), projectId).fields.map(({ pointer }) => pointer)).toEqual(pointers)
  })

  it("ignores the vendor's other callbacks, whatever their fields", () => {
    expect(readCallback({ event: "connectionCreated", id: 7 }, "100")).toEqual({ ignored: "not-archive" })
  })

  it.each([null, 1, "text", true, [], [uploaded()]])("refuses %j, which is not an object", (json) => {
    expect(refusal(json).message).toBe("the callback is not a JSON object")
  })

  it("is not fooled by __proto__ or constructor", () => {
    const json: unknown = JSON.parse(
      `{"__proto__": {"status": "uploaded", "password": "x", "polluted": 1}, "constructor": {"prototype": {"polluted": 1}}, "id": "${ARCHIVE_ID}", "status": "stopped"}`,
    )
    expect(readCallback(json, "100")).toEqual({
      ignored: "not-uploaded",
      archiveId: ARCHIVE_ID,
      status: "stopped",
    })
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
    const bare: unknown = JSON.parse(`{"__proto__": {"id": "${ARCHIVE_ID}", "status": "uploaded"}}`)
    expect(refusal(bare).fields.map(({ pointer }) => pointer)).toEqual(["#/id", "#/status"])
  })
})
