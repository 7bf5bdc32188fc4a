import { VERSION } from "@unseal/service/version"
import { describe, expect, it } from "vitest"
import { problemOf, TOKEN, uploaded } from "../../../test/harness/ingest/ingest-app.ts"
import { app, start } from "../../../test/harness/ingest/ingest-each.ts"

describe("other requests", () => {
  it.each(["/callbacks/100", "/callbacks/424242", "/callbacks/777/guess", "/callbacks/100/"])(
    "GET and HEAD %s answer the dashboard's probe with 200, whether or not the project exists",
    async (path) => {
      await start()
      const get = await fetch(app.base + path)
      const head = await fetch(app.base + path, { method: "HEAD" })
      expect([get.status, head.status]).toEqual([200, 200])
      expect(await get.json()).toEqual({ status: "callbacks are received here by POST" })
    },
  )

  it.each([
    ["PUT", "/callbacks/100", 405],
    ["OPTIONS", "/callbacks/100", 405],
    ["DELETE", `/callbacks/777/${TOKEN}`, 405],
    ["GET", "/", 404],
    ["POST", "/callbacks", 404],
    ["POST", "/callbacks/1/2/3", 404],
    ["GET", "/metrics", 404],
  ])("%s %s is answered %d", async (method, path, status) => {
    await start()
    const response = await fetch(app.base + path, { method })
    expect((await problemOf(response)).status).toBe(status)
    expect(response.headers.get("allow")).toBe(status === 405 ? "GET, HEAD, POST" : null)
  })

  it("can get the interface as OpenAPI", async () => {
    await start()
    const document = (await (await fetch(`${app.base}/openapi.json`)).json()) as {
      openapi: string
      info: { version: string; license: object }
      servers: object[]
      paths: Record<string, Record<"post" | "get", { operationId: string; responses: object }>>
      components: { schemas: Record<string, { properties?: Record<string, object>; required?: string[] }> }
    }
    expect(document.openapi).toBe("3.1.0")
    expect(document.info).toMatchObject({ version: VERSION, license: { identifier: "Apache-2.0" } })
    expect(document.servers).toHaveLength(1)
    expect(Object.keys(document.paths)).toEqual(["/callbacks/{projectId}", "/callbacks/{projectId}/{token}"])
    for (const { post, get } of Object.values(document.paths)) {
      expect(Object.keys(post.responses)).toEqual(["200", "202", "400", "401", "413", "415", "500", "503"])
      expect(Object.keys(get.responses)).toEqual(["200", "400"])
    }
    const operations = Object.values(document.paths).flatMap(Object.values<{ operationId: string }>)
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(4)
    const callback = document.components.schemas.ArchiveStatusCallback
    expect(Object.keys(callback?.properties ?? {})).toEqual(
      expect.arrayContaining(["id", "status", "password", "size"]),
    )
    expect(callback?.required).toEqual(["id", "status"])
  })

  it("don't reveal what the server is made of", async () => {
    await start()
    const { headers } = await app.post("/callbacks/100", uploaded())
    expect(headers.get("x-powered-by")).toBeNull()
    expect(headers.get("server")).toBeNull()
    expect(headers.get("x-content-type-options")).toBe("nosniff")
    expect(headers.get("cache-control")).toBe("no-store")
  })
})
