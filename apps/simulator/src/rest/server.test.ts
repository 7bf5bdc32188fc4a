import { generateKeyPairSync, randomUUID } from "node:crypto"
import { SignJWT } from "jose"
import { describe, expect, test } from "vitest"
import {
  ask,
  authorized,
  CLAIMS,
  cloud,
  get,
  never,
  now,
  PROJECT,
  rest,
  SECRET,
  serve,
  sign,
  store,
} from "../../../../test/harness/rest-server.ts"

const APPLICATION = "78d335fa-323d-0114-9c3d-d6f0d48968cf"

const pair = generateKeyPairSync("rsa", { modulusLength: 2048 })

describe("a request to OpenTok", () => {
  test("is accepted with a token made as in the guide", async () => {
    expect((await get("archive")).status).toBe(200)
  })

  test("is accepted with a token made as the vendor's SDKs for Node and Ruby make it", async () => {
    const { jti: _, ist, ...claims } = CLAIMS()
    const statusOf = async (token: string) =>
      (await ask(`${PROJECT}/archive`, { "x-opentok-auth": token })).status
    expect(await statusOf(await sign({ ...claims, ist }))).toBe(200)
    const inHeader = new SignJWT(claims).setProtectedHeader({ alg: "HS256", ist })
    expect(await statusOf(await inHeader.sign(new TextEncoder().encode(SECRET)))).toBe(200)
    expect(await statusOf(await sign(claims))).toBe(403)
  })

  test.each<[string, () => Promise<Record<string, string>>]>([
    ["no token", async () => ({})],
    ["no token at all in it", async () => ({ "x-opentok-auth": "no token" })],
    ["the secret of another", async () => ({ "x-opentok-auth": await sign(CLAIMS(), "another") })],
    ["another algorithm", async () => ({ "x-opentok-auth": await sign(CLAIMS(), SECRET, "HS512") })],
    ["another iss", async () => ({ "x-opentok-auth": await sign({ ...CLAIMS(), iss: "654321" }) })],
    ["another ist", async () => ({ "x-opentok-auth": await sign({ ...CLAIMS(), ist: "account" }) })],
    ["an exp gone by", async () => ({ "x-opentok-auth": await sign({ ...CLAIMS(), exp: now() - 60 }) })],
    [
      "an exp in 6 minutes",
      async () => ({ "x-opentok-auth": await sign({ ...CLAIMS(), exp: now() + 360 }) }),
    ],
    [
      "an exp 6 minutes after its iat",
      async () => ({ "x-opentok-auth": await sign({ ...CLAIMS(), iat: now() - 120, exp: now() + 240 }) }),
    ],
    ["an iat to come", async () => ({ "x-opentok-auth": await sign({ ...CLAIMS(), iat: now() + 60 }) })],
    ["the token in another header", async () => ({ authorization: `Bearer ${await sign(CLAIMS())}` })],
  ])("is refused with %s", async (_, headers) => {
    expect((await ask(`${PROJECT}/archive`, await headers())).status).toBe(403)
  })

  test("is refused for another project", async () => {
    expect((await ask("654321/archive", await authorized())).status).toBe(403)
  })

  test.each(["archive/a/b", "session", `archive/${randomUUID()}`])("finds nothing at %s", async (where) => {
    expect((await get(where)).status).toBe(404)
  })

  test("can get another answer from a test", async () => {
    await serve({ refuse: ({ number }) => (number === 1 ? { status: 429, retryAfter: "7" } : null) })
    const refused = await get("archive")
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "7"])
    expect((await get("archive")).status).toBe(200)
    expect(rest.requests.map(({ status }) => status)).toEqual([429, 200])
  })
})

describe("a request to Vonage", () => {
  const token = (claims: object, key = pair.privateKey) =>
    new SignJWT({ application_id: APPLICATION, iat: now(), exp: now() + 900, jti: randomUUID(), ...claims })
      .setProtectedHeader({ alg: "RS256" })
      .sign(key)

  test("is accepted with a token of the application, and with no other", async () => {
    const publicKey = pair.publicKey.export({ type: "spki", format: "pem" }).toString()
    await serve({ projectId: APPLICATION, credentials: { scheme: "vonage", publicKey } })
    const statusOf = async (jwt: string) =>
      (await ask(`${APPLICATION}/archive`, { authorization: `Bearer ${jwt}` })).status
    expect(await statusOf(await token({}))).toBe(200)
    expect(await statusOf(await token({ application_id: randomUUID() }))).toBe(403)
    expect(await statusOf(await token({ exp: now() - 60 }))).toBe(403)
    expect(await statusOf(await token({ jti: undefined }))).toBe(403)
    const { privateKey: other } = generateKeyPairSync("rsa", { modulusLength: 2048 })
    expect(await statusOf(await token({}, other))).toBe(403)
    // A classic attack: the public key used as the secret of an HMAC.
    const confused = await sign({ application_id: APPLICATION, ...CLAIMS() }, publicKey)
    expect(await statusOf(confused)).toBe(403)
    expect((await ask(`${APPLICATION}/archive`, {})).status).toBe(403)
  })

  test("is accepted with HTTP Basic if that is configured", async () => {
    await serve({ projectId: APPLICATION, credentials: { scheme: "basic", apiSecret: SECRET } })
    const statusOf = async (secret: string) => {
      const authorization = `Basic ${Buffer.from(`${APPLICATION}:${secret}`).toString("base64")}`
      return (await ask(`${APPLICATION}/archive`, { authorization })).status
    }
    expect(await statusOf(SECRET)).toBe(200)
    expect(await statusOf("another")).toBe(403)
  })
})

describe("archives", () => {
  const ids = async (query = "") => {
    const { items } = (await (await get(`archive${query}`)).json()) as { items: { id: string }[] }
    return items.map(({ id }) => id)
  }

  test("are listed newest first, fifty at a time", async () => {
    for (let index = 0; index < 60; index++) await cloud.record({ size: 188, statuses: ["started"] })
    const newestFirst = [...cloud.archives.keys()].reverse()
    expect(await ids()).toEqual(newestFirst.slice(0, 50))
    expect(await ids("?offset=50")).toEqual(newestFirst.slice(50))
    expect(await ids("?offset=3&count=5")).toEqual(newestFirst.slice(3, 8))
    expect(await ids("?offset=60&count=1000")).toEqual([])
  })

  test.each(["?count=1001", "?count=-1", "?offset=x"])("are not listed with %s", async (query) => {
    expect((await get(`archive${query}`)).status).toBe(400)
  })

  test("have their password, and times that differ from the callback's", async () => {
    const { id, recording, createdAt } = await cloud.record({ size: 752 })
    const told = (await (await get(`archive/${id}`)).json()) as Record<string, unknown>
    expect(told).toMatchObject({
      id,
      status: "uploaded",
      size: 768,
      duration: 0,
      partnerId: 123456,
      password: recording!.encryptedPassword,
      url: null,
      createdAt: createdAt - (createdAt % 1_000),
    })
  })

  test("are forgotten once deleted, together with their password", async () => {
    const { id, key } = await cloud.record({ size: 752 })
    const remove = async () => ask(`${PROJECT}/archive/${id}`, await authorized(), { method: "DELETE" })
    expect((await remove()).status).toBe(204)
    expect((await get(`archive/${id}`)).status).toBe(404)
    expect((await remove()).status).toBe(404)
    expect(await ids()).toEqual([])
    expect(await store.stat(key, never)).not.toBeNull()
  })
})
