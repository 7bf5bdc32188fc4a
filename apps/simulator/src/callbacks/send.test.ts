import { createHash, createHmac } from "node:crypto"
import { createServer, type IncomingHttpHeaders } from "node:http"
import type { AddressInfo } from "node:net"
import { jwtVerify } from "jose"
import { afterEach, describe, expect, test } from "vitest"
import { type CallbackSenderOptions, createCallbackSender, retryDelays } from "./send.ts"

const SECRET = "a-signature-secret-of-32-bytes-or-more"
const BODY = JSON.stringify({ id: "b40ef09b-3811-4726-b508-e41a0f96c68f", name: "Grüße" })
/** Turns the schedule's 5 seconds into 5 milliseconds. */
const QUICK = { timeScale: 0.001 }

interface Received {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** The receiver's reaction to a request: an HTTP status, a cut connection, or silence. */
type Reaction = number | "cut" | "silent"

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

/** A receiver that reacts to the first requests as listed, and accepts every later one. */
async function receiver(...reactions: Reaction[]): Promise<{ url: string; received: Received[] }> {
  const received: Received[] = []
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    received.push({
      path: request.url!,
      headers: request.headers,
      body: Buffer.concat(chunks).toString("utf8"),
    })
    const reaction = reactions.shift() ?? 202
    if (reaction === "cut") request.socket.destroy()
    else if (reaction !== "silent") response.writeHead(reaction).end(`answer ${reaction}`)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/callbacks/123456`, received }
}

const deliver = (options: CallbackSenderOptions, signal = new AbortController().signal) =>
  createCallbackSender({ ...QUICK, ...options }).send(BODY, signal).delivery

describe("a callback", () => {
  test("is posted once as JSON, and its answer is reported", async () => {
    const { url, received } = await receiver()
    expect(await deliver({ url })).toEqual({ outcome: "accepted", attempts: [202], answer: "answer 202" })
    expect(received).toMatchObject([
      { path: "/callbacks/123456", body: BODY, headers: { "content-type": "application/json" } },
    ])
    expect(received[0]!.headers.authorization).toBeUndefined()
  })

  test("has the token as the path's last segment", async () => {
    const { url, received } = await receiver()
    await deliver({ url, token: "to ken" })
    expect(received[0]!.path).toBe("/callbacks/123456/to%20ken")
  })

  test("is sent again after 5xx until it is accepted, unchanged each time", async () => {
    const { url, received } = await receiver(503, 500, 502)
    const delivery = await deliver({ url, signatureSecret: SECRET })
    expect(delivery).toMatchObject({ outcome: "accepted", attempts: [503, 500, 502, 202] })
    expect(new Set(received.map(({ body, headers }) => `${headers.authorization} ${body}`)).size).toBe(1)
  })

  test("is sent again after the connection is cut", async () => {
    const { url } = await receiver("cut")
    expect(await deliver({ url })).toMatchObject({ outcome: "accepted", attempts: [null, 202] })
  })

  test("is sent again when no answer comes in time", async () => {
    const { url } = await receiver("silent")
    expect(await deliver({ url, timeoutMs: 300 })).toMatchObject({
      outcome: "accepted",
      attempts: [null, 202],
    })
  })

  test.each([400, 401, 404, 415, 429, 302])("is not sent again after %i", async (status) => {
    const { url, received } = await receiver(status)
    expect(await deliver({ url })).toEqual({
      outcome: "refused",
      attempts: [status],
      answer: `answer ${status}`,
    })
    expect(received).toHaveLength(1)
  })

  test("is given up after four retries on the legacy platform without signatures", async () => {
    const { url, received } = await receiver(503, 503, 503, 503, 503, 503)
    expect(await deliver({ url, platform: "legacy" })).toEqual({
      outcome: "given-up",
      attempts: [503, 503, 503, 503, 503],
      answer: "answer 503",
    })
    expect(received).toHaveLength(5)
  })

  test("is given up when nothing listens", async () => {
    const { url } = await receiver()
    for (const close of closers.splice(0)) close()
    expect(await deliver({ url, platform: "legacy" })).toEqual({
      outcome: "given-up",
      attempts: [null, null, null, null, null],
      answer: "",
    })
  })

  test("reports its first attempt before it is delivered", async () => {
    const { url, received } = await receiver(503)
    const stop = new AbortController()
    const retries: unknown[] = []
    const sending = createCallbackSender({ url }).send(BODY, stop.signal, (retry) => retries.push(retry))
    await sending.firstAttempt
    expect(received).toHaveLength(1)
    await expect.poll(() => retries).toEqual([{ attempt: 1, status: 503, retryInMs: 5_000 }])
    stop.abort(new Error("the process ends"))
    await expect(sending.delivery).rejects.toThrow("the process ends")
  })

  test("ends with the signal while it waits for an answer", async () => {
    const { url, received } = await receiver("silent")
    const stop = new AbortController()
    const sending = createCallbackSender({ url }).send(BODY, stop.signal)
    while (received.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    stop.abort(new Error("the process ends"))
    await expect(sending.delivery).rejects.toThrow("the process ends")
    await sending.firstAttempt
  })
})

describe("a signed callback", () => {
  test("passes verification by jose", async () => {
    const { url, received } = await receiver()
    await deliver({ url, signatureSecret: SECRET })
    const token = received[0]!.headers.authorization!.replace(/^Bearer /, "")
    const { payload, protectedHeader } = await jwtVerify(token, Buffer.from(SECRET), {
      issuer: "Vonage",
      algorithms: ["HS256"],
      maxTokenAge: "1 minute",
    })
    expect(protectedHeader.alg).toBe("HS256")
    expect(Object.keys(payload).sort()).toEqual(["iat", "iss", "jti", "payload_hash"])
    expect(payload.payload_hash).toBe(createHash("sha256").update(received[0]!.body).digest("hex"))
  })

  test("passes verification by hand", async () => {
    const { url, received } = await receiver()
    await deliver({ url, signatureSecret: SECRET })
    const [header, claims, signature] = received[0]!.headers.authorization!.slice("Bearer ".length).split(".")
    expect(createHmac("sha256", SECRET).update(`${header}.${claims}`).digest("base64url")).toBe(signature)
    expect(JSON.parse(Buffer.from(header!, "base64url").toString())).toEqual({ alg: "HS256", typ: "JWT" })
  })

  test("may be unsigned at first, and is signed after a 5xx", async () => {
    const { url, received } = await receiver(503)
    await deliver({ url, signatureSecret: SECRET, unsignedFirstAttempt: true })
    expect(received.map(({ headers }) => headers.authorization?.slice(0, 7))).toEqual([undefined, "Bearer "])
  })
})

describe("the vendor's retry schedule", () => {
  const seconds = (platform: "unified" | "legacy", signed: boolean) =>
    [...retryDelays(platform, signed)].map((delay) => delay / 1000)

  test.each([
    ["unified", true],
    ["unified", false],
    ["legacy", true],
  ] as const)("doubles from 5 s to 15 min and ends within 24 h: %s, signed %s", (platform, signed) => {
    const waits = seconds(platform, signed)
    expect(waits.slice(0, 10)).toEqual([5, 10, 20, 40, 80, 160, 320, 640, 900, 900])
    const total = waits.reduce((sum, wait) => sum + wait, 0)
    expect(total).toBeLessThanOrEqual(86_400)
    expect(total + 900).toBeGreaterThan(86_400)
  })

  test("has four retries on the legacy platform without signatures", () => {
    expect(seconds("legacy", false)).toEqual([5, 10, 20, 40])
  })
})

describe("a mishap", () => {
  test("loses a callback without a request, and ends the first attempt of a late one at once", async () => {
    const { url, received } = await receiver()
    const mishaps = [
      { lost: true, delayMs: 0 },
      { lost: false, delayMs: 60_000 },
    ]
    const sender = createCallbackSender({ url, mishap: () => mishaps.shift()! })
    const never = new AbortController()
    const lost = sender.send("{}", never.signal)
    expect(await lost.delivery).toEqual({ outcome: "lost", attempts: [], answer: "" })
    await lost.firstAttempt
    const late = sender.send("{}", never.signal)
    await late.firstAttempt
    expect(received).toEqual([])
    never.abort(new Error("the test is over"))
    await expect(late.delivery).rejects.toThrow("the test is over")
  })

  test("delivers a late callback after its delay, signed as it was, and repeats it like any other", async () => {
    const { url, received } = await receiver(503)
    const sender = createCallbackSender({
      ...{ url, signatureSecret: SECRET, timeScale: 0.001 },
      mishap: () => ({ lost: false, delayMs: 50 }),
    })
    const sentAt = performance.now()
    const { firstAttempt, delivery } = sender.send(BODY, new AbortController().signal)
    await firstAttempt
    expect(await delivery).toMatchObject({ outcome: "accepted", attempts: [503, 202] })
    // Timers may fire a millisecond early.
    expect(performance.now() - sentAt).toBeGreaterThanOrEqual(49)
    expect(received.map(({ body }) => body)).toEqual([BODY, BODY])
  })
})
