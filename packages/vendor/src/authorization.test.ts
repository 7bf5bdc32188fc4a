import { createHmac, createPublicKey, createVerify, generateKeyPairSync } from "node:crypto"
import { jwtVerify } from "jose"
import { describe, expect, it } from "vitest"
import { createAuthorizer } from "./authorization.ts"

const PROJECT = "123456"
const APPLICATION = "78d335fa-323d-0114-9c3d-d6f0d48968cf"
const SECRET = "canary-api-secret"
const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString()

const partOf = (token: string, index: number) =>
  JSON.parse(Buffer.from(token.split(".")[index]!, "base64url").toString())

describe("a request to OpenTok", () => {
  const authorize = createAuthorizer(PROJECT, { scheme: "opentok", apiSecret: SECRET })
  const tokenOf = async () => (await authorize())["x-opentok-auth"]!

  it("has the claims of the guide in X-OPENTOK-AUTH, and nothing else", async () => {
    const before = Math.floor(Date.now() / 1_000)
    const token = await tokenOf()
    const after = Math.floor(Date.now() / 1_000)
    expect(Object.keys(await authorize())).toEqual(["x-opentok-auth"])
    expect(partOf(token, 0)).toEqual({ alg: "HS256", typ: "JWT" })
    const claims = partOf(token, 1)
    expect(Object.keys(claims).sort()).toEqual(["exp", "iat", "iss", "ist", "jti"])
    expect(claims).toMatchObject({ iss: PROJECT, ist: "project" })
    // Backdated by a minute, so that a slightly fast clock does not date requests in the future.
    expect(claims.iat).toBeGreaterThanOrEqual(before - 60)
    expect(claims.iat).toBeLessThanOrEqual(after - 60)
    expect(claims.exp - after).toBeGreaterThan(60)
    expect(claims.exp - claims.iat).toBeLessThanOrEqual(300)
    expect(claims.jti).toMatch(/^[0-9a-f-]{36}$/)
  })

  it("is signed with HMAC-SHA256 and the API secret", async () => {
    const token = await tokenOf()
    const [header, claims, signature] = token.split(".")
    const expected = createHmac("sha256", SECRET).update(`${header}.${claims}`).digest("base64url")
    expect(signature).toBe(expected)
    await jwtVerify(token, new TextEncoder().encode(SECRET), { issuer: PROJECT, algorithms: ["HS256"] })
  })

  it("has a new jti each time", async () => {
    const ids = await Promise.all(Array.from({ length: 50 }, async () => partOf(await tokenOf(), 1).jti))
    expect(new Set(ids).size).toBe(50)
  })
})

describe("a request to Vonage", () => {
  it.each([
    ["PEM", pem],
    ["PKCS#1 PEM", privateKey.export({ type: "pkcs1", format: "pem" }).toString()],
    ["bytes", Buffer.from(pem)],
    ["a key object", privateKey],
  ])("has a bearer token of the application, signed by RS256 with its key as %s", async (_, key) => {
    const { authorization, ...rest } = await createAuthorizer(APPLICATION, {
      scheme: "vonage",
      privateKey: key,
    })()
    expect(rest).toEqual({})
    const token = /^Bearer (\S+)$/.exec(authorization!)![1]!
    expect(partOf(token, 0)).toEqual({ alg: "RS256", typ: "JWT" })
    const claims = partOf(token, 1)
    expect(Object.keys(claims).sort()).toEqual(["application_id", "exp", "iat", "jti"])
    expect(claims.application_id).toBe(APPLICATION)
    const [header, payload, signature] = token.split(".")
    const verify = createVerify("sha256").update(`${header}.${payload}`)
    expect(verify.verify(publicKey, Buffer.from(signature!, "base64url"))).toBe(true)
    await jwtVerify(token, publicKey, { algorithms: ["RS256"] })
  })

  it.each([
    ["no PEM", "canary-key"],
    ["a key of another type", generateKeyPairSync("ed25519").privateKey],
    ["a public key", createPublicKey(pem)],
  ])("is refused before it is sent with %s, without quoting it", (_, key) => {
    const make = () => createAuthorizer(APPLICATION, { scheme: "vonage", privateKey: key })
    expect(make).toThrow(expect.objectContaining({ code: "ERR_KEY_INVALID" }))
    expect(make).not.toThrow(/canary/)
  })
})

describe("a request with HTTP Basic", () => {
  it("has id and secret in base64", async () => {
    const authorize = createAuthorizer(APPLICATION, { scheme: "basic", apiSecret: SECRET })
    const { authorization } = await authorize()
    expect(Buffer.from(authorization!.slice("Basic ".length), "base64").toString()).toBe(
      `${APPLICATION}:${SECRET}`,
    )
  })
})
