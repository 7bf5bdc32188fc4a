/** The vendor's own SDKs against the simulated REST API, and their requests beside those of packages/vendor. */

import { createHash } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { createServer, type IncomingHttpHeaders } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { openStore } from "@unseal/archive/store/open"
import { readSmallObject } from "@unseal/archive/store/small-object"
import { decryptByOpenssl } from "@unseal/simulator/recording/openssl"
import { createVendorClient } from "@unseal/vendor/client"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { poisoned } from "../harness/poisoned.ts"
import { S3_CREDENTIAL } from "../harness/stores.ts"
import { opentok, opentokOf, type Sdk, type ToldArchive, useSdks, vonageOf } from "./sdk.ts"
import { API_SECRET, BUCKET, type SimulatedVendor, startSimulatedVendor } from "./simulated-vendor.ts"

const never = new AbortController().signal

useSdks()

const keyOf = ({ env }: SimulatedVendor) => readFileSync(env.UNSEAL_APPLICATION_KEY_FILE!, "utf8")

describe.each<[string, "opentok" | "vonage", (vendor: SimulatedVendor, url: string) => Sdk]>([
  ["opentok for OpenTok", "opentok", ({ projectId }, url) => opentokOf(projectId, API_SECRET, url)],
  ["opentok for Vonage Video", "vonage", (vendor, url) => opentokOf(vendor.projectId, keyOf(vendor), url)],
  ["@vonage/video", "vonage", (vendor, url) => vonageOf(vendor.projectId, keyOf(vendor), url)],
])("the SDK %s", (_, platform, sdkOf) => {
  let vendor: SimulatedVendor
  let sdk: Sdk
  beforeAll(async () => {
    vendor = await startSimulatedVendor(platform)
    sdk = sdkOf(vendor, vendor.rest.url)
    await vendor.client.setStorage(
      {
        type: "s3",
        config: {
          bucket: BUCKET,
          accessKey: S3_CREDENTIAL.AWS_ACCESS_KEY_ID,
          secretKey: S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY,
          endpoint: vendor.s3.url,
        },
        fallback: "none",
        certificate: readFileSync(vendor.certificateFile, "utf8"),
      },
      never,
    )
  })
  afterAll(() => vendor.close())

  const routed = async () => (await sdk.createSession(routedOf(_))).sessionId
  async function ended(id: string): Promise<ToldArchive> {
    for (let tries = 0; tries < 1_200; tries++) {
      const archive = await sdk.getArchive(id)
      if (["uploaded", "failed"].includes(archive.status)) return archive
      await sleep(50)
    }
    throw new Error(`archive ${id} has not ended`)
  }

  it("records an archive from start to stop, which is encrypted and uploaded", async () => {
    const sessionId = await routed()
    const options = {
      name: "a name",
      hasVideo: false,
      outputMode: "composed",
      layout: { type: "bestFit", screenshareType: "pip" },
      resolution: "1280x720",
    }
    const started = await sdk.startArchive(sessionId, options)
    const told = { sessionId, name: "a name", hasAudio: true, hasVideo: false, resolution: "1280x720" }
    expect(started).toMatchObject({ ...told, status: "started", size: 0, password: "", url: null })
    expect(await sdk.getArchive(started.id)).toMatchObject({ ...told, status: "started" })
    expect(await sdk.stopArchive(started.id)).toMatchObject({ id: started.id, status: "stopped" })

    const uploaded = await ended(started.id)
    expect(uploaded).toMatchObject({ ...told, status: "uploaded", duration: 0 })
    const archive = vendor.cloud.archives.get(started.id)!
    const url = `s3://${BUCKET}?${new URLSearchParams({ endpoint: vendor.s3.url })}`
    const store = poisoned(
      await openStore(url, {
        env: {},
        credentials: {
          accessKeyId: S3_CREDENTIAL.AWS_ACCESS_KEY_ID,
          secretAccessKey: S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY,
        },
      }),
    )
    const source = join(vendor.directory, "archive.enc")
    const object = await store.stat(archive.key, never)
    writeFileSync(source, Buffer.from(await readSmallObject(store, object!, 2 ** 30, never)))
    await store.close()
    const destination = join(vendor.directory, "archive.ts")
    const encryptedPassword = uploaded.password as string
    await decryptByOpenssl({ encryptedPassword, keyFile: vendor.keyFile, source, destination })
    expect(createHash("sha256").update(readFileSync(destination)).digest("hex")).toBe(
      archive.sha256!.plaintext,
    )
  })

  it("lists by session, offset and count, and deletes", async () => {
    const sessionId = await routed()
    const ids: string[] = []
    for (const multiArchiveTag of ["a", "b", "c"])
      ids.unshift((await sdk.startArchive(sessionId, { multiArchiveTag })).id)
    const listed = async (filter: object) => (await sdk.listArchives(filter)).map(({ id }) => id)
    expect(await listed({ sessionId })).toEqual(ids)
    expect(await listed({ sessionId, offset: 1, count: 1 })).toEqual([ids[1]])
    expect(await listed({ sessionId: await routed() })).toEqual([])
    for (const id of ids) await sdk.stopArchive(id)
    for (const id of ids) await ended(id)
    await sdk.deleteArchive(ids[1]!)
    expect(await listed({ sessionId })).toEqual([ids[0], ids[2]])
    await expect(sdk.getArchive(ids[1]!)).rejects.toThrow(/not found|404/i)
  })

  it("is refused as the vendor refuses", async () => {
    const sessionId = await routed()
    const { id } = await sdk.startArchive(sessionId)
    // The SDK for OpenTok has sentences of its own for these.
    await expect(sdk.startArchive(sessionId)).rejects.toThrow(/already|in progress|Unexpected response|409/)
    await expect(sdk.startArchive("2_unknown")).rejects.toThrow(/Session not found|404/)
    await expect(sdk.startArchive(sessionId, { hasAudio: false, hasVideo: false })).rejects.toThrow(
      /hasVideo|400/,
    )
    await expect(sdk.startArchive(sessionId, { outputMode: "individual" })).rejects.toThrow(/outputMode|400/)
    await expect(sdk.stopArchive("b40ef09b-3811-4726-b508-e41a0f96c68f")).rejects.toThrow(/not found|404/i)
    await sdk.stopArchive(id)
    await expect(sdk.stopArchive(id)).rejects.toThrow(/not being recorded|409/)
    await ended(id)
    const statuses = vendor.rest.requests
      .filter(({ method }) => method === "POST")
      .map(({ status }) => status)
    expect(statuses.slice(-8)).toEqual([200, 409, 404, 400, 400, 404, 200, 409])
  })
})

/** The words of each SDK for a session that the vendor's servers route. */
const routedOf = (name: string) =>
  name.startsWith("opentok") ? { mediaMode: "routed" } : { mediaMode: "disabled" }

it("the SDK for OpenTok reads the project out of a session's id, and makes its clients' tokens", async () => {
  const vendor = await startSimulatedVendor("opentok")
  const { sessionId } = await opentokOf(vendor.projectId, API_SECRET, vendor.rest.url).createSession({
    mediaMode: "routed",
  })
  const client = new (opentok())(vendor.projectId, API_SECRET, vendor.rest.url)
  expect(client.generateToken(sessionId)).toMatch(/^(T1==|eyJ)/)
  await vendor.close()
})

describe("a request of packages/vendor is one of", () => {
  interface Sent {
    readonly method: string
    readonly path: string
    readonly query: Readonly<Record<string, string>>
    readonly headers: IncomingHttpHeaders
  }
  const sent: Sent[] = []
  const listener = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://localhost")
    const { method = "", headers } = request
    sent.push({ method, path: pathname, query: Object.fromEntries(searchParams), headers })
    const item = (index: number) => ({
      id: `00000000-0000-4000-8000-00000000000${index}`,
      status: "uploaded",
    })
    const first = Number(searchParams.get("offset") ?? 0)
    const items = [0, 1, 2, 3, 4].slice(first, first + 4).map(item)
    const body = pathname.endsWith("/archive") ? { count: 5, items } : item(1)
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body))
  })
  let url: string
  beforeAll(async () => {
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve))
    url = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`
  })
  afterAll(() => {
    listener.closeAllConnections()
    listener.close()
  })

  const decoded = (text: string | undefined) => JSON.parse(Buffer.from(text ?? "", "base64url").toString())
  /** What must be the same, with times and nonces reduced to what they are. */
  function compared({ headers, ...rest }: Sent) {
    const name = headers["x-opentok-auth"] === undefined ? "authorization" : "x-opentok-auth"
    const value = String(headers[name])
    const [header, claims] = value.replace(/^Bearer /, "").split(".")
    const { iat, exp, jti, ...identity } = decoded(claims)
    expect(exp - iat).toBeGreaterThan(0)
    return {
      ...rest,
      auth: {
        name,
        scheme: value.startsWith("Bearer ") ? "Bearer" : "none",
        header: decoded(header),
        identity,
      },
      jti: typeof jti,
      lifetime: exp - iat,
    }
  }

  it.each<[string, "opentok" | "vonage", (vendor: SimulatedVendor) => Sdk, string]>([
    ["opentok for OpenTok", "opentok", ({ projectId }) => opentokOf(projectId, API_SECRET, url), "undefined"],
    ["@vonage/video", "vonage", (vendor) => vonageOf(vendor.projectId, keyOf(vendor), url), "string"],
  ])("%s", async (_, platform, sdkOf, jti) => {
    const vendor = await startSimulatedVendor(platform)
    const { projectId } = vendor
    const credentials =
      platform === "opentok"
        ? ({ scheme: "opentok", apiSecret: API_SECRET } as const)
        : ({ scheme: "vonage", privateKey: keyOf(vendor) } as const)
    const ours = createVendorClient({ platform, projectId, credentials, baseUrl: url })
    const sdk = sdkOf(vendor)
    const id = "00000000-0000-4000-8000-000000000001"
    sent.length = 0
    await ours.getArchive(id, never)
    await sdk.getArchive(id)
    await Array.fromAsync(ours.listArchives({ pageSize: 4, overlap: 1 }, never))
    const { query } = sent[3]!
    expect(query).toEqual({ offset: "3", count: "4" })
    await sdk.listArchives({ offset: 3, count: 4 })
    const [get, sdkGet, , list] = sent.map(compared)
    const sdkList = compared(sent.at(-1)!)
    for (const [own, theirs] of [
      [get!, sdkGet!],
      [list!, sdkList],
    ] as const) {
      const { jti: ownJti, lifetime, ...request } = own
      const { jti: theirJti, lifetime: theirLifetime, ...theirRequest } = theirs
      expect(request).toEqual(theirRequest)
      // The guide asks for the nonce; the vendor's own SDK for OpenTok leaves it out.
      expect([ownJti, theirJti]).toEqual(["string", jti])
      expect(lifetime).toBeLessThanOrEqual(theirLifetime)
    }
    expect(sent[0]!.headers.accept).toBe("application/json")
    await vendor.close()
  })
})
