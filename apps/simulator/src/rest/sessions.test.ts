import { randomUUID } from "node:crypto"
import { describe, expect, test } from "vitest"
import { ask, authorized, cloud, get, PROJECT, rest, serve } from "../../../../test/harness/rest-server.ts"

describe("a session", () => {
  const create = async (fields: Record<string, string> = {}, headers?: Record<string, string>) =>
    fetch(`${rest.url}/session/create`, {
      method: "POST",
      headers: headers ?? (await authorized()),
      body: new URLSearchParams(fields),
    })
  const sessionOf = async (fields?: Record<string, string>) => {
    const response = await create(fields)
    const [session] = (await response.json()) as [{ session_id: string }]
    return session.session_id
  }
  const post = async (rest_: string, body?: unknown, type = "application/json") =>
    ask(
      `${PROJECT}/${rest_}`,
      { ...(await authorized()), "content-type": type },
      { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) },
    )
  const messageOf = async (response: Response) => ((await response.json()) as { message: string }).message
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
    const response = await create(fields as Record<string, string>)
    expect([response.status, await messageOf(response)]).toEqual([400, message])
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
    const response = await post("archive", body(await sessionOf()), type)
    expect([response.status, await messageOf(response)]).toEqual([status, expect.stringContaining(message)])
    expect(cloud.archives.size).toBe(0)
  })

  test("that is relayed between its clients is not recorded", async () => {
    const sessionId = await sessionOf({ "p2p.preference": "enabled" })
    const response = await post("archive", { sessionId })
    expect([response.status, await messageOf(response)]).toEqual([
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
