import { describe, expect, test } from "vitest"
import { ARCHIVE_STATUSES, type CallbackForm, type CallbackSubject, callbackBody } from "./body.ts"

const PLAINTEXT_SHA256 = `${"00".repeat(31)}ff`
const CIPHERTEXT_SHA256 = "ab".repeat(32)
const subject: CallbackSubject = {
  id: "b40ef09b-3811-4726-b508-e41a0f96c68f",
  projectId: "123456",
  sessionId: "2_MX40NzIwMzJ-flR1ZSBPERUIDIwMTN-MC45NDQ2MzE2NH4",
  name: "Foo",
  createdAt: 1384221380000,
  reason: "",
  url: "https://example.com/archive",
  recording: { size: 18023312, encryptedPassword: "e42cd23=" },
  sha256: { plaintext: PLAINTEXT_SHA256, ciphertext: CIPHERTEXT_SHA256 },
}

const body = (status: (typeof ARCHIVE_STATUSES)[number], form: Partial<CallbackForm> = {}, of = subject) =>
  JSON.parse(
    callbackBody(
      of,
      status,
      { projectIdName: "partnerId", sizeForm: "number", sha256sum: "absent", ...form },
      1384221390000,
    ),
  )

describe("the body of a callback", () => {
  test("has all fields of the guide's example", () => {
    expect(body("uploaded")).toEqual({
      id: "b40ef09b-3811-4726-b508-e41a0f96c68f",
      event: "archive",
      createdAt: 1384221380000,
      updatedAt: 1384221390000,
      duration: 0,
      name: "Foo",
      partnerId: 123456,
      reason: "",
      sessionId: "2_MX40NzIwMzJ-flR1ZSBPERUIDIwMTN-MC45NDQ2MzE2NH4",
      size: 18023312,
      status: "uploaded",
      password: "e42cd23=",
      url: null,
      outputMode: "composed",
      hasAudio: true,
      hasVideo: true,
      resolution: "640x480",
      streamMode: "auto",
      streams: [{ streamId: expect.any(String), hasAudio: true, hasVideo: true }],
    })
  })

  test.each(ARCHIVE_STATUSES)("reports size and password only for stored archives: %s", (status) => {
    const stored = ["uploaded", "available", "expired", "deleted"].includes(status)
    expect(body(status)).toMatchObject({
      status,
      size: stored ? 18023312 : 0,
      password: stored ? "e42cd23=" : "",
    })
  })

  test.each(ARCHIVE_STATUSES)("has a url only when available: %s", (status) => {
    expect(body(status).url).toBe(status === "available" ? "https://example.com/archive" : null)
  })

  test("has no password if the archive was never recorded", () => {
    expect(body("deleted", {}, { ...subject, recording: null, sha256: null })).toMatchObject({
      size: 0,
      password: "",
    })
  })

  test("can spell the project id in three ways", () => {
    expect(body("started", { projectIdName: "projectId" })).toMatchObject({ projectId: 123456 })
    const application = { ...subject, projectId: "78d335fa-323d-0114-9c3d-d6f0d48968cf" }
    const unified = body("started", { projectIdName: "applicationId" }, application)
    expect(unified).toMatchObject({ applicationId: "78d335fa-323d-0114-9c3d-d6f0d48968cf" })
    expect(unified).not.toHaveProperty("partnerId")
  })

  test("can give the size as a string", () => {
    expect(body("uploaded", { sizeForm: "string" }).size).toBe("18023312")
    expect(body("started", { sizeForm: "string" }).size).toBe("0")
  })

  test("can give a digest in base64, empty until there is one", () => {
    expect(body("stopped", { sha256sum: "ciphertext" }).sha256sum).toBe("")
    const digest = (sha256sum: "plaintext" | "ciphertext") =>
      Buffer.from(body("uploaded", { sha256sum }).sha256sum, "base64").toString("hex")
    expect(digest("plaintext")).toBe(PLAINTEXT_SHA256)
    expect(digest("ciphertext")).toBe(CIPHERTEXT_SHA256)
    expect(body("uploaded")).not.toHaveProperty("sha256sum")
  })
})
