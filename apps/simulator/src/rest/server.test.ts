import { execFileSync } from "node:child_process"
import { createHash, generateKeyPairSync, randomUUID } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { readWhole } from "@unseal/archive/store/small-object"
import { SignJWT } from "jose"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { poisoned } from "../../../../test/harness/poisoned.ts"
import { createRecordingCloud, type RecordingCloud } from "../cloud.ts"
import { createCertificate, decryptByOpenssl } from "../recording/openssl.ts"
import { type S3Server, startS3Server } from "../s3/http/server.ts"
import { type RestServer, type RestServerOptions, startRestServer } from "./server.ts"

const PROJECT = "123456"
const APPLICATION = "78d335fa-323d-0114-9c3d-d6f0d48968cf"
const SECRET = "an-api-secret"
const CREDENTIAL = { accessKeyId: "CUSTOMER", secretAccessKey: "customer-secret" }
const never = new AbortController().signal
const directory = mkdtempSync(join(tmpdir(), "rest-"))
const path = (name: string) => join(directory, name)
const first = { certificateFile: path("cert.pem"), keyFile: path("key.pem") }
const second = { certificateFile: path("cert-2.pem"), keyFile: path("key-2.pem") }
const pair = generateKeyPairSync("rsa", { modulusLength: 2048 })

let s3: S3Server
beforeAll(async () => {
  await createCertificate(first)
  await createCertificate(second)
  s3 = await startS3Server({ credentials: [CREDENTIAL], buckets: ["theirs"] })
})
afterAll(async () => {
  await s3.close()
  rmSync(directory, { recursive: true })
})

let store: OpenedStore
let cloud: RecordingCloud
let rest: RestServer
beforeEach(async () => {
  store = poisoned(await openStore(`file://${mkdtempSync(path("bucket-"))}`, { env: {} }))
  cloud = createRecordingCloud({
    certificate: readFileSync(first.certificateFile, "utf8"),
    store,
    projectId: PROJECT,
  })
  await serve()
})
afterEach(async () => {
  await rest.close()
  await store.close()
})

async function serve(options: Partial<RestServerOptions> = {}): Promise<void> {
  await rest?.close()
  const credentials = { scheme: "opentok", apiSecret: SECRET } as const
  rest = await startRestServer({ projectId: PROJECT, credentials, cloud, ...options })
}

const now = () => Math.floor(Date.now() / 1_000)
const CLAIMS = () => ({ iss: PROJECT, ist: "project", iat: now(), exp: now() + 180, jti: randomUUID() })
const sign = (claims: object, secret = SECRET, alg = "HS256") =>
  new SignJWT({ ...claims }).setProtectedHeader({ alg }).sign(new TextEncoder().encode(secret))
const authorized = async () => ({ "x-opentok-auth": await sign(CLAIMS()) })

const ask = (rest_: string, headers: Record<string, string>, init: RequestInit = {}) =>
  fetch(`${rest.url}/v2/project/${rest_}`, { ...init, headers })
const get = async (rest_: string) => ask(`${PROJECT}/${rest_}`, await authorized())
const put = async (body: unknown, type = "application/json") =>
  ask(
    `${PROJECT}/archive/storage`,
    { ...(await authorized()), "content-type": type },
    { method: "PUT", body: typeof body === "string" ? body : JSON.stringify(body) },
  )

const target = (more: object = {}) => ({
  type: "s3",
  config: { bucket: "theirs", accessKey: "CUSTOMER", secretKey: "customer-secret", endpoint: s3.url },
  fallback: "none",
  certificate: readFileSync(second.certificateFile).toString("base64"),
  ...more,
})

/** The bytes under `key` in the target's bucket. */
async function uploaded(key: string): Promise<Buffer | null> {
  const url = `s3://theirs?endpoint=${s3.url}&region=us-east-1`
  const theirs = poisoned(await openStore(url, { env: {}, credentials: CREDENTIAL }))
  try {
    const object = await theirs.stat(key, never)
    if (object === null) return null
    return Buffer.from(await readWhole(theirs, object, 2 ** 30, never))
  } finally {
    await theirs.close()
  }
}

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

describe("a session", () => {
  const create = async (fields: Record<string, string> = {}, headers?: Record<string, string>) =>
    fetch(`${rest.url}/session/create`, {
      method: "POST",
      headers: headers ?? (await authorized()),
      body: new URLSearchParams(fields),
    })
  const sessionOf = async (fields?: Record<string, string>) => {
    const answer = await create(fields)
    const [session] = (await answer.json()) as [{ session_id: string }]
    return session.session_id
  }
  const post = async (rest_: string, body?: unknown, type = "application/json") =>
    ask(
      `${PROJECT}/${rest_}`,
      { ...(await authorized()), "content-type": type },
      { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) },
    )
  const messageOf = async (answer: Response) => ((await answer.json()) as { message: string }).message
  const uploadOf = async (id: string) => {
    await expect.poll(() => cloud.archives.get(id)?.status, { timeout: 60_000 }).toBe("uploaded")
  }

  test("has an id of the vendor's form", async () => {
    const id = await sessionOf()
    const fields = Buffer.from(id.replace(/^2_/, ""), "base64url").toString().split("~")
    expect(fields.slice(0, 2)).toEqual(["1", PROJECT])
    expect(await sessionOf()).not.toBe(id)
  })

  test.each([
    [{ archiveMode: "sometimes" }, "archiveMode must be manual or always"],
    [{ "p2p.preference": "maybe" }, "p2p.preference must be enabled or disabled"],
    [
      { archiveMode: "always", "p2p.preference": "enabled" },
      "archiveMode always needs p2p.preference disabled",
    ],
    [{ location: "Berlin" }, "location is not an IPv4 address"],
  ])("is not created with %j", async (fields, message) => {
    const answer = await create(fields as Record<string, string>)
    expect([answer.status, await messageOf(answer)]).toEqual([400, message])
  })

  test("can't be created without credentials, and only by POST", async () => {
    expect((await create({}, {})).status).toBe(403)
    expect((await fetch(`${rest.url}/session/create`, { headers: await authorized() })).status).toBe(405)
  })

  test("is created when an SDK sends unset fields", async () => {
    expect((await create({ location: "null", archiveMode: "manual" })).status).toBe(200)
  })

  test("with archive mode always is recorded from its beginning", async () => {
    const sessionId = await sessionOf({ archiveMode: "always" })
    const [archive] = cloud.archives.values()
    expect(archive).toMatchObject({ sessionId, status: "started" })
    expect((await post(`archive/${archive!.id}/stop`)).status).toBe(200)
    await uploadOf(archive!.id)
  })

  test.each<[string, (sessionId: string) => unknown, number, string, string?]>([
    ["what is no JSON", () => "{", 400, "invalid JSON"],
    ["no session", () => ({}), 400, "sessionId"],
    ["another session", () => ({ sessionId: "2_another" }), 404, "no such session"],
    [
      "neither audio nor video",
      (sessionId) => ({ sessionId, hasAudio: false, hasVideo: false }),
      400,
      "hasVideo",
    ],
    [
      "individual streams",
      (sessionId) => ({ sessionId, outputMode: "individual" }),
      400,
      "outputMode: must be composed",
    ],
    ["another layout", (sessionId) => ({ sessionId, layout: { type: "grid" } }), 400, "layout.type"],
    [
      "a custom layout without a stylesheet",
      (sessionId) => ({ sessionId, layout: { type: "custom" } }),
      400,
      "layout.stylesheet",
    ],
    [
      "a stylesheet without a custom layout",
      (sessionId) => ({ sessionId, layout: { type: "pip", stylesheet: "x" } }),
      400,
      "layout.stylesheet",
    ],
    [
      "a layout for screens without bestFit",
      (sessionId) => ({ sessionId, layout: { type: "pip", screenshareType: "pip" } }),
      400,
      "layout.screenshareType",
    ],
    ["another resolution", (sessionId) => ({ sessionId, resolution: "1x1" }), 400, "resolution"],
    [
      "two rates",
      (sessionId) => ({ sessionId, maxBitrate: 200_000, quantizationParameter: 20 }),
      400,
      "maxBitrate",
    ],
    ["a word for a truth", (sessionId) => ({ sessionId, hasAudio: "yes" }), 400, "hasAudio"],
    ["another content type", (sessionId) => ({ sessionId }), 415, "application/json", "text/plain"],
  ])("is not recorded with %s", async (_, body, status, message, type) => {
    const answer = await post("archive", body(await sessionOf()), type)
    expect([answer.status, await messageOf(answer)]).toEqual([status, expect.stringContaining(message)])
    expect(cloud.archives.size).toBe(0)
  })

  test("that is relayed between its clients is not recorded", async () => {
    const sessionId = await sessionOf({ "p2p.preference": "enabled" })
    const answer = await post("archive", { sessionId })
    expect([answer.status, await messageOf(answer)]).toEqual([
      409,
      "the session does not use the media router",
    ])
  })

  test("has one recording at a time, unless they have tags; a running one can't be deleted", async () => {
    const sessionId = await sessionOf()
    const started = (await (await post("archive", { sessionId })).json()) as { id: string; status: string }
    expect(started.status).toBe("started")
    expect((await post("archive", { sessionId })).status).toBe(409)
    const tagged = (await (await post("archive", { sessionId, multiArchiveTag: "b" })).json()) as {
      id: string
    }
    expect((await post("archive", { sessionId, multiArchiveTag: "b" })).status).toBe(409)
    const remove = async () =>
      (await ask(`${PROJECT}/archive/${started.id}`, await authorized(), { method: "DELETE" })).status
    expect(await remove()).toBe(409)
    for (const { id } of [started, tagged]) expect((await post(`archive/${id}/stop`)).status).toBe(200)
    expect((await post("archive", { sessionId })).status).toBe(200)
    for (const { id } of [started, tagged]) await uploadOf(id)
    expect((await post(`archive/${started.id}/stop`)).status).toBe(409)
    expect((await post(`archive/${randomUUID()}/stop`)).status).toBe(404)
    expect(await remove()).toBe(204)
  })

  test("is reported in callbacks with the settings of its request", async () => {
    const sessionId = await sessionOf()
    const asked = {
      sessionId,
      name: "a name",
      hasVideo: false,
      resolution: "1920x1080",
      streamMode: "manual",
    }
    const { id } = (await (await post("archive", asked)).json()) as { id: string }
    expect(await (await get(`archive/${id}`)).json()).toMatchObject(asked)
    const listed = (await (await get(`archive?sessionId=${sessionId}`)).json()) as object
    expect(listed).toMatchObject({ count: 1, items: [{ id }] })
  })

  test("that is being recorded ends with the server, without an upload", async () => {
    const { id } = (await (await post("archive", { sessionId: await sessionOf() })).json()) as { id: string }
    await rest.close()
    expect(cloud.archives.get(id)).toMatchObject({ status: "started", recording: null })
    await serve()
  })
})

describe("a storage", () => {
  test("receives archives from then on, encrypted for its certificate", async () => {
    const before = await cloud.record({ size: 752 })
    expect((await put(target())).status).toBe(200)
    const { id, key, recording, sha256 } = await cloud.record({ size: 752 })
    expect(await uploaded(before.key)).toBeNull()
    expect(key).toBe(`${PROJECT}/${id}/archive.ts`)
    const ciphertext = await uploaded(key)
    expect(ciphertext).toHaveLength(768)
    expect(createHash("sha256").update(ciphertext!).digest("hex")).toBe(sha256!.ciphertext)
    const unwrapped = (keyFile: string) => {
      const options = ["-pkeyopt", "rsa_padding_mode:oaep", "-inkey", keyFile]
      const input = Buffer.from(recording!.encryptedPassword, "base64")
      return execFileSync("openssl", ["pkeyutl", "-decrypt", ...options], {
        input,
        stdio: ["pipe", "pipe", "ignore"],
      })
    }
    expect(unwrapped(second.keyFile)).toHaveLength(51)
    expect(() => unwrapped(first.keyFile)).toThrow("openssl")
    expect(rest.storage).toMatchObject({ type: "s3", config: { bucket: "theirs" } })
  })

  test("takes a new certificate with the next request, in both forms", async () => {
    for (const { certificateFile, keyFile } of [first, second]) {
      const certificate = readFileSync(certificateFile, "utf8")
      expect((await put(target({ certificate }))).status).toBe(200)
      const archive = await cloud.record({ size: 752 })
      const source = path("rotated.enc")
      writeFileSync(source, (await uploaded(archive.key))!)
      const encryptedPassword = archive.recording!.encryptedPassword
      await decryptByOpenssl({ encryptedPassword, keyFile, source, destination: path("rotated.ts") })
      const digest = createHash("sha256")
        .update(readFileSync(path("rotated.ts")))
        .digest("hex")
      expect(digest).toBe(archive.sha256!.plaintext)
    }
  })

  test.each([{ certificate: null }, { certificate: undefined }])(
    "ends the encryption with %j",
    async (without) => {
      expect((await put(target(without))).status).toBe(200)
      const archive = await cloud.record({ size: 752 })
      expect(archive).toMatchObject({ status: "uploaded", recording: { encryptedPassword: "", size: 752 } })
      expect(archive.key).toBe(`${PROJECT}/${archive.id}/archive.mp4`)
      expect(archive.sha256!.plaintext).toBe(archive.sha256!.ciphertext)
      const told = (await (await get(`archive/${archive.id}`)).json()) as { password: string }
      expect(told.password).toBe("")
    },
  )

  test("on Azure works as well", async () => {
    const config = { accountName: "account", accountKey: "a2V5", container: "archives" }
    expect((await put({ type: "azure", config, certificate: null })).status).toBe(200)
    expect(rest.storage).toMatchObject({ type: "azure", config })
  })

  const large = () => {
    const args = ["req", "-new", "-x509", "-nodes", "-newkey", "rsa:3072", "-subj", "/CN=large"]
    return execFileSync("openssl", [...args, "-keyout", path("large.pem")], { stdio: "pipe" }).toString()
  }
  const ec = () => {
    const args = ["req", "-new", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    return execFileSync("openssl", [...args, "-subj", "/CN=ec", "-keyout", path("ec.pem")], {
      stdio: "pipe",
    }).toString()
  }
  test.each<[string, () => unknown, string?]>([
    ["what is no JSON", () => "{"],
    ["no object", () => "[]"],
    ["no target", () => ({ certificate: null })],
    ["no type", () => ({ ...target(), type: undefined })],
    ["another type", () => target({ type: "gcs" })],
    ["no bucket", () => target({ config: { accessKey: "a", secretKey: "b" } })],
    ["an empty secret", () => target({ config: { bucket: "theirs", accessKey: "a", secretKey: "" } })],
    ["another sse", () => target({ config: { ...target().config, sse: "kms" } })],
    ["an endpoint without a protocol", () => target({ config: { ...target().config, endpoint: "host" } })],
    ["another fallback", () => target({ fallback: "maybe" })],
    ["a certificate that is none", () => target({ certificate: "canary" })],
    ["a certificate of 3072 bits", () => target({ certificate: large() })],
    ["a certificate that is not of RSA", () => target({ certificate: ec() })],
    ["another content type", target, "text/plain"],
    ["an endless body", () => target({ certificate: "x".repeat(70_000) })],
  ])("is refused with %s, and nothing changes", async (_, body, type) => {
    const answer = await put(body(), type)
    expect(answer.status).toBe(400)
    expect(await answer.text()).not.toContain("canary")
    expect(rest.storage).toBeNull()
    expect(await cloud.record({ size: 752 })).toMatchObject({ recording: { size: 768 } })
  })

  test("is not set without a token, and only by PUT", async () => {
    const init = { method: "PUT", body: JSON.stringify(target()) }
    const headers = { "content-type": "application/json" }
    expect((await ask(`${PROJECT}/archive/storage`, headers, init)).status).toBe(403)
    expect((await get("archive/storage")).status).toBe(405)
    expect(rest.storage).toBeNull()
  })
})
