import { createHmac, generateKeyPairSync } from "node:crypto"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import {
  APPLICATION_ID,
  OLD_SECRET,
  problemOf,
  SECRET,
  sha256,
  sign,
  startApp,
  type TestApp,
  TOKEN,
  uploaded,
} from "../../../test/harness/ingest/ingest-app.ts"

const SIGNED = "/callbacks/123456"
const BODY = JSON.stringify(uploaded({ partnerId: 123_456 }))

let app: TestApp
beforeAll(async () => {
  app = await startApp()
})
beforeEach(() => void app.jobs.splice(0))
afterAll(() => app.close())

const HOUR = 3_600

const post = (authorization: string, body = BODY, path = SIGNED) => app.post(path, body, { authorization })
const now = () => Date.now() / 1_000

const base64url = (value: object | string) =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url")

/** A handmade JWT, for cases that no library would produce. */
function forge(header: object, signature: (input: string) => string, claims: object = {}): string {
  const payload = { iss: "Vonage", iat: Math.floor(now()), payload_hash: sha256(BODY), ...claims }
  const input = `${base64url(header)}.${base64url(payload)}`
  return `Bearer ${input}.${signature(input)}`
}
const hmac =
  (secret: string, hash = "sha256") =>
  (input: string) =>
    createHmac(hash, secret).update(input).digest("base64url")

describe("a signed callback", () => {
  it("is accepted with either of the two secrets of a rotation", async () => {
    expect((await post(await sign(BODY))).status).toBe(202)
    const other = JSON.stringify(uploaded({ partnerId: 123_456, password: "AAAA" }))
    expect((await post(await sign(other, { secret: OLD_SECRET }), other)).status).toBe(202)
  })

  it("is accepted when it was made by hand according to the standard", async () => {
    expect((await post(forge({ alg: "HS256", typ: "JWT" }, hmac(SECRET)))).status).toBe(202)
  })

  it("is accepted when its hash is of the reserialised JSON, or in upper case", async () => {
    const spaced = JSON.stringify(JSON.parse(BODY), null, 2)
    expect((await post(await sign(BODY), spaced)).status).toBe(202)
    const upper = { payload_hash: sha256(BODY).toUpperCase() }
    expect((await post(await sign(BODY, { claims: upper }))).status).toBe(200)
  })

  it("is accepted up to 25 hours old and up to a minute from the future", async () => {
    expect((await post(await sign(BODY, { issuedAt: now() - 24.9 * HOUR }))).status).toBe(202)
    expect((await post(await sign(BODY, { issuedAt: now() + 30 }))).status).toBe(200)
  })

  it("that is replayed is a duplicate", async () => {
    const authorization = await sign(BODY)
    expect((await post(authorization)).status).toBe(202)
    const replay = await post(authorization)
    expect(replay.status).toBe(200)
    expect(await replay.json()).toMatchObject({ outcome: "duplicate" })
    expect(app.jobs).toHaveLength(1)
  })

  it.each<[string, () => Promise<string> | string]>([
    ["signed with another secret", () => sign(BODY, { secret: "somebody else's secret" })],
    ["signed with another project's secret", () => sign(BODY, { secret: "another project's secret" })],
    ["signed with nothing", () => forge({ alg: "HS256" }, () => "")],
    ["of algorithm none", () => forge({ alg: "none" }, () => "")],
    ["of algorithm none with a signature", () => forge({ alg: "none" }, hmac(SECRET))],
    ["of no algorithm", () => forge({}, hmac(SECRET))],
    ["of algorithm HS512, though with the secret", () => forge({ alg: "HS512" }, hmac(SECRET, "sha512"))],
    ["that calls the secret an RSA key", () => forge({ alg: "RS256" }, hmac(SECRET))],
    [
      "with a critical header that nobody knows",
      () => forge({ alg: "HS256", crit: ["x"], x: 1 }, hmac(SECRET)),
    ],
    [
      "that brings its own key",
      () => forge({ alg: "HS256", jwk: { kty: "oct", k: base64url("mine") } }, hmac("mine")),
    ],
    ["older than 25 hours", () => sign(BODY, { issuedAt: now() - 25.5 * HOUR })],
    ["from the future", () => sign(BODY, { issuedAt: now() + 3_000 })],
    ["without iat", () => forge({ alg: "HS256" }, hmac(SECRET), { iat: undefined })],
    ["with an iat that is not a number", () => forge({ alg: "HS256" }, hmac(SECRET), { iat: "now" })],
    ["that has expired", () => sign(BODY, { claims: { exp: Math.floor(now() - 1_200) } })],
    ["without payload_hash", () => sign(BODY, { claims: { payload_hash: undefined } })],
    ["with a payload_hash that is a list", () => sign(BODY, { claims: { payload_hash: [sha256(BODY)] } })],
    ["with an empty payload_hash", () => sign(BODY, { claims: { payload_hash: "" } })],
    ["for another body", () => sign(`${BODY} `)],
    ["that is not a JWT", () => "Bearer x"],
    ["with a Basic header", () => `Basic ${base64url(`x:${SECRET}`)}`],
    ["with an empty header", () => " "],
  ])("%s is refused with 401", async (_name, make) => {
    const response = await post(await make())
    expect(response.status).toBe(401)
    expect(app.jobs).toEqual([])
  })

  it("signed with an RSA key is refused, whichever key it is", async () => {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2_048 })
    const { sign: rsaSign } = await import("node:crypto")
    const forged = forge({ alg: "RS256" }, (input) =>
      rsaSign("sha256", Buffer.from(input), privateKey).toString("base64url"),
    )
    expect((await post(forged)).status).toBe(401)
  })

  it("with an altered body is refused, if one byte is changed or one is added", async () => {
    const authorization = await sign(BODY)
    for (const altered of [BODY.replace("uploaded", "uploadee"), `${BODY.slice(0, -1)},"x":1}`])
      expect((await post(authorization, altered)).status).toBe(401)
    expect(app.jobs).toEqual([])
  })

  it("is refused at another project, although it is genuine", async () => {
    expect((await post(await sign(BODY), BODY, `/callbacks/${APPLICATION_ID}`)).status).toBe(401)
  })

  it("is authenticated before its body is parsed: only a valid signer learns of bad JSON", async () => {
    expect((await post(await sign("{", { secret: "wrong" }), "{")).status).toBe(401)
    expect((await post(await sign("{"), "{")).status).toBe(400)
  })

  it("that lost its signature is answered 503, so that it is sent again", async () => {
    const response = await app.post(SIGNED, BODY)
    expect(response.headers.get("retry-after")).toMatch(/^\d+$/)
    expect((await problemOf(response)).status).toBe(503)
    expect(app.jobs).toEqual([])
  })
})

describe("a callback with a valid signature and a wrong time", () => {
  it.each([
    [
      "made 3 minutes in the future",
      180,
      () => ({}),
      /made in the future by this machine's clock \(iat\), by 1\d\d s/,
    ],
    ["made 14 minutes in the future", 840, () => ({}), /by 8\d\d s/],
    [
      "older than the limit by 10 minutes",
      -25 * HOUR - 600,
      () => ({}),
      /older than UNSEAL_CALLBACK_MAX_AGE_MS/,
    ],
    [
      "expired 6 minutes ago",
      -400,
      () => ({ exp: now() - 350 }),
      /has expired by this machine's clock \(exp\), by 3\d\d s/,
    ],
    [
      "valid in 5 minutes only",
      0,
      () => ({ nbf: now() + 300 }),
      /not valid yet by this machine's clock \(nbf\)/,
    ],
  ])(
    "%s is answered 503, counted as clock, and the log says by how much",
    async (_name, offset, claims, told) => {
      const own = await startApp()
      const authorization = await sign(BODY, { issuedAt: now() + offset, claims: claims() })
      const response = await own.post(SIGNED, BODY, { authorization })
      expect((await problemOf(response)).status).toBe(503)
      expect(response.headers.get("retry-after")).toBe("5")
      await expect.poll(() => own.logs.length).toBe(1)
      expect(own.logs[0]).toMatchObject({
        outcome: "clock",
        reason: "clock",
        finding: expect.stringMatching(told),
      })
      expect(await own.metrics()).toContain('unseal_callbacks_total{project="123456",outcome="clock"} 1')
      await own.close()
    },
  )

  it.each([
    ["further off than a quarter of an hour", 16 * 60, {}, BODY, SECRET],
    ["further in the past", -25 * HOUR - 16 * 60, {}, BODY, SECRET],
    ["of another body", 180, {}, `${BODY} `, SECRET],
    ["signed with another secret", 180, {}, BODY, "somebody else's secret"],
    ["without iat", 0, { iat: undefined, exp: now() - 300 }, BODY, SECRET],
  ])("%s is refused for good", async (_name, offset, claims, body, secret) => {
    const wrong = { ...claims, ...(body === BODY ? {} : { payload_hash: sha256("something else") }) }
    const authorization = await sign(BODY, { issuedAt: now() + offset, claims: wrong, secret })
    const expected = "iat" in claims ? forge({ alg: "HS256" }, hmac(SECRET), claims) : authorization
    expect((await post(expected, BODY)).status).toBe(401)
  })
})

describe("a project that was removed from the configuration", () => {
  it("is answered 503 for some minutes, so that a half-written file loses nothing", async () => {
    const own = await startApp({ wasRemoved: (id) => id === "555" })
    expect((await own.post("/callbacks/555", BODY, { authorization: await sign(BODY) })).status).toBe(503)
    expect((await own.post("/callbacks/556", BODY, { authorization: await sign(BODY) })).status).toBe(401)
    await own.close()
  })
})

describe("a callback with a token", () => {
  const body = uploaded({ partnerId: 777 })

  it("is accepted only with the project's token", async () => {
    expect((await app.post(`/callbacks/777/${TOKEN}`, body)).status).toBe(202)
    for (const path of [
      "/777",
      "/777/",
      "/777/x",
      `/777/${TOKEN}x`,
      `/777/${TOKEN.slice(1)}`,
      `/100/${TOKEN}`,
    ])
      expect((await app.post(`/callbacks${path}`, body)).status, path).toBe(401)
  })

  it("is refused by a project that requires signatures", async () => {
    expect((await app.post(`/callbacks/123456/${TOKEN}`, BODY)).status).toBe(401)
    expect(
      (await app.post(`/callbacks/123456/${TOKEN}`, BODY, { authorization: await sign(BODY) })).status,
    ).toBe(401)
  })
})

describe("an unknown project", () => {
  it("gets byte for byte the answer to a bad signature and to a wrong token", async () => {
    const bad = await sign(BODY, { secret: "wrong" })
    const answers = await Promise.all([
      app.post("/callbacks/123456", BODY, { authorization: bad }),
      app.post("/callbacks/424242", BODY, { authorization: bad }),
      app.post("/callbacks/424242", BODY),
      app.post("/callbacks/777/wrong", BODY),
      app.post("/callbacks/424242/wrong", BODY),
      app.post("/callbacks/__proto__", BODY),
      app.post("/callbacks/constructor", BODY),
    ])
    const seen = new Set<string>()
    for (const response of answers) {
      const headers = [...response.headers].filter(([name]) => name !== "date")
      seen.add(JSON.stringify([response.status, headers, await response.text()]))
    }
    expect([...seen]).toHaveLength(1)
    expect([...seen][0]).toMatch(/^\[401,/)
  })
})
