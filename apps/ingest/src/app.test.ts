import { QueueUnavailableError } from "@unseal/queue/enqueue/producer"
import { describe, expect, it } from "vitest"
import {
  APPLICATION_ID,
  ARCHIVE_ID,
  PASSWORD,
  problemOf,
  sign,
  TOKEN,
  uploaded,
} from "../../../test/harness/ingest/ingest-app.ts"
import { app, start } from "../../../test/harness/ingest/ingest-each.ts"

describe("a callback", () => {
  it("of an uploaded archive becomes a job: 202 with its id", async () => {
    await start()
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    const response = await app.post("/callbacks/100", uploaded({ sha256sum: "c2hhMjU2", size: "12" }), {
      traceparent,
    })
    expect(response.status).toBe(202)
    const { jobId, ...rest } = (await response.json()) as { jobId: string }
    expect(rest).toEqual({ outcome: "enqueued", archiveId: ARCHIVE_ID })
    expect(jobId).toContain(`100_${ARCHIVE_ID}_`)
    expect(app.jobs).toEqual([
      {
        version: 1,
        projectId: "100",
        archiveId: ARCHIVE_ID,
        encryptedPassword: PASSWORD,
        status: "uploaded",
        size: 12,
        sha256sum: "c2hhMjU2",
        receivedAt: expect.stringMatching(/^\d{4}-.*Z$/),
        nonce: expect.any(String),
        traceparent,
      },
    ])
    // The line is written when the answer has been.
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736"
    await expect
      .poll(() => app.logs, { timeout: 30_000 })
      .toContainEqual(expect.objectContaining({ msg: "callback", traceId, jobId, archiveId: ARCHIVE_ID }))
  })

  it("that comes twice is a duplicate: 200 with the same id", async () => {
    await start()
    const first = (await (await app.post("/callbacks/100", uploaded())).json()) as { jobId: string }
    const again = await app.post("/callbacks/100", uploaded({ updatedAt: 1, duration: 9 }))
    expect(again.status).toBe(200)
    expect(await again.json()).toEqual({ outcome: "duplicate", jobId: first.jobId, archiveId: ARCHIVE_ID })
    expect(app.jobs).toHaveLength(1)
  })

  it("that comes again reports the archive's state, and so does the log", async () => {
    const of = { state: "committed", since: "2026-01-02T00:00:00.000Z" } as const
    await start({ duplicateOf: async () => of })
    await app.post("/callbacks/100", uploaded())
    const again = await app.post("/callbacks/100", uploaded())
    expect(await again.json()).toMatchObject({ outcome: "duplicate", archiveId: ARCHIVE_ID, of })
    await expect
      .poll(() => app.logs.at(-1))
      .toMatchObject({ outcome: "duplicate", of: "committed", since: of.since })
  })

  it.each([
    ["started", "not-uploaded"],
    ["stopped", "not-uploaded"],
    ["expired", "not-uploaded"],
    ["a status of the future", "not-uploaded"],
  ])("of status %s is ignored", async (status, reason) => {
    await start()
    const response = await app.post("/callbacks/100", uploaded({ status }))
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({ outcome: "ignored", reason, archiveId: ARCHIVE_ID })
    expect(app.jobs).toEqual([])
  })

  it("without a password is about an unencrypted archive, and ignored", async () => {
    await start()
    for (const password of ["", null, undefined]) {
      const response = await app.post("/callbacks/100", uploaded({ password }))
      expect(await response.json()).toEqual({
        outcome: "ignored",
        reason: "not-encrypted",
        archiveId: ARCHIVE_ID,
      })
    }
    expect(app.jobs).toEqual([])
  })

  it("of an available archive becomes a job, and so does one of 0 bytes or with a password that is not base64", async () => {
    await start()
    expect(
      (await app.post("/callbacks/100", uploaded({ status: "available", url: "https://x/y" }))).status,
    ).toBe(202)
    expect((await app.post("/callbacks/100", uploaded({ size: 0, password: "AAAA" }))).status).toBe(202)
    expect((await app.post("/callbacks/100", uploaded({ password: "*** no base64 ***" }))).status).toBe(202)
    expect(app.jobs.map(({ status }) => status)).toEqual(["available", "uploaded", "uploaded"])
  })

  it("with malformed fields is answered 400, naming each field without its value", async () => {
    await start()
    const response = await app.post(
      "/callbacks/100",
      uploaded({ id: "c4n4ry", status: 5, size: -1, password: "c4n4ry".repeat(1_000), partnerId: {} }),
    )
    const problem = await problemOf(response)
    expect(response.status).toBe(400)
    expect(problem.errors).toEqual([
      { pointer: "#/id", detail: "must be a UUID" },
      { pointer: "#/status", detail: "must be a string" },
      { pointer: "#/password", detail: "must have at most 4096 characters" },
      { pointer: "#/size", detail: "must be a whole number of bytes" },
      { pointer: "#/partnerId", detail: "must be a number or a string" },
    ])
    expect(JSON.stringify(problem)).not.toContain("c4n4ry")
  })

  it("of another project is answered 400", async () => {
    await start()
    const problem = await problemOf(await app.post("/callbacks/100", uploaded({ partnerId: 101 })))
    expect(problem).toMatchObject({
      status: 400,
      errors: [{ pointer: "#/partnerId", detail: "must be the project of the callback's URL" }],
    })
    expect(app.jobs).toEqual([])
  })

  it("that the queue does not accept is answered 503 with Retry-After", async () => {
    await start({ enqueue: () => Promise.reject(new QueueUnavailableError("redis is away")) })
    const response = await app.post("/callbacks/100", uploaded())
    expect(response.headers.get("retry-after")).toMatch(/^\d+$/)
    expect(await problemOf(response)).toMatchObject({ status: 503, title: "Service Unavailable" })
  })

  it("that fails for an unexpected reason is answered 500 without the reason", async () => {
    await start({ enqueue: () => Promise.reject(new TypeError("c4n4ry")) })
    const response = await app.post("/callbacks/100", uploaded())
    expect(JSON.stringify(await problemOf(response))).not.toContain("c4n4ry")
    expect(response.status).toBe(500)
    expect(app.logs.at(-1)).toMatchObject({
      ...{ level: "error", msg: "callback failed", outcome: "failed" },
      err: { type: "TypeError" },
    })
  })

  it("leaves one log line with outcome and ids, but without password and token", async () => {
    await start()
    await app.post(`/callbacks/777/${TOKEN}`, uploaded({ partnerId: 777 }))
    await app.post(`/callbacks/777/not-${TOKEN}`, uploaded({ partnerId: 777 }))
    expect(app.logs[0]).toMatchObject({
      level: "info",
      msg: "callback",
      outcome: "enqueued",
      projectId: "777",
      archiveId: ARCHIVE_ID,
      status: "uploaded",
      jobId: expect.stringContaining(ARCHIVE_ID),
      duration: expect.any(Number),
    })
    expect(app.logs[1]).toMatchObject({
      ...{ level: "warn", msg: "callback refused", outcome: "unauthenticated", reason: "wrong token" },
    })
    expect(app.logs).toHaveLength(2)
    expect(JSON.stringify(app.logs)).not.toMatch(new RegExp(`${TOKEN}|${PASSWORD}|Bearer`))
  })

  it("is counted by project and outcome; a project that doesn't exist counts as unknown", async () => {
    await start()
    await app.post("/callbacks/100", uploaded())
    await app.post("/callbacks/100", uploaded())
    await app.post("/callbacks/100", "{")
    for (let id = 1_000; id < 1_010; id++) await app.post(`/callbacks/${id}`, uploaded())
    const metrics = await app.metrics()
    expect(metrics).toContain('unseal_callbacks_total{project="100",outcome="enqueued"} 1')
    expect(metrics).toContain('unseal_callbacks_total{project="100",outcome="duplicate"} 1')
    expect(metrics).toContain('unseal_callbacks_total{project="100",outcome="invalid"} 1')
    expect(metrics).toContain('unseal_callbacks_total{project="unknown",outcome="unauthenticated"} 10')
    expect(metrics).toContain('unseal_callback_seconds_count{outcome="enqueued"} 1')
    expect(metrics).not.toContain('project="1005"')
  })

  it("has series only for possible outcomes: an unknown project enqueues nothing, and a token has no clock", async () => {
    await start()
    const metrics = await app.metrics()
    const series = (project: string) =>
      [
        ...metrics.matchAll(
          new RegExp(`unseal_callbacks_total{project="${project}",outcome="([a-z-]+)"}`, "g"),
        ),
      ].map(([, outcome]) => outcome)
    expect(series("unknown")).toContain("unauthenticated")
    expect(series("unknown")).not.toContain("enqueued")
    expect(series("123456")).toEqual(expect.arrayContaining(["enqueued", "clock", "unsigned"]))
    expect(series("777")).toContain("enqueued")
    expect(series("777").filter((outcome) => ["clock", "unsigned"].includes(outcome ?? ""))).toEqual([])
  })

  it("does not turn a flood of refusals into a flood of log lines", async () => {
    await start()
    const began = Date.now()
    for (let i = 0; i < 50; i++) await app.post("/callbacks/999", uploaded())
    const seconds = Math.ceil((Date.now() - began) / 1_000) + 1
    expect(app.logs.length).toBeLessThanOrEqual(seconds)
  })
})

describe("the log of refusals", () => {
  it("has the answer's reason, limited separately for each reason", async () => {
    await start()
    const answers: string[] = []
    for (const body of [
      "{",
      "[]",
      JSON.stringify(uploaded({ id: 1, size: [] })),
      JSON.stringify(uploaded({ partnerId: 5 })),
    ])
      answers.push((await problemOf(await app.post("/callbacks/100", body))).detail)
    expect(app.logs.map(({ reason }) => reason)).toEqual(answers)
    expect(app.logs[2]).toMatchObject({
      errors: expect.arrayContaining([expect.objectContaining({ pointer: "#/id" })]),
    })
  })

  it("has a line for a wrong path and a wrong method, without the path", async () => {
    await start()
    await app.post(`/callback/123456/${TOKEN}`, uploaded())
    await fetch(`${app.base}/callbacks/100`, { method: "PUT" })
    expect(app.logs).toMatchObject([
      {
        msg: "request refused",
        outcome: "not-found",
        hint: expect.stringContaining("POST /callbacks/{projectId}"),
      },
      { msg: "request refused", outcome: "method-not-allowed", method: "PUT" },
    ])
    expect(JSON.stringify(app.logs)).not.toContain(TOKEN)
  })

  it("has a hint for the commonest mistake: the API secret in place of the signature secret", async () => {
    await start()
    const body = JSON.stringify(uploaded({ partnerId: 123_456 }))
    await app.post("/callbacks/123456", body, {
      authorization: await sign(body, { secret: "the API secret" }),
    })
    expect(app.logs[0]).toMatchObject({
      reason: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED",
      hint: expect.stringContaining("not the API secret"),
      peer: "127.0.0.1",
    })
  })
})

describe("the project of a route", () => {
  it("may be a UUID in any case", async () => {
    await start()
    const response = await app.post(`/callbacks/${APPLICATION_ID.toUpperCase()}`, uploaded())
    expect((await problemOf(response)).status).toBe(503)
    expect(await app.metrics()).toContain(
      `unseal_callbacks_total{project="${APPLICATION_ID}",outcome="unsigned"} 1`,
    )
  })
})
