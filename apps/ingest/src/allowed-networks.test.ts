import { parseNetworks, trustProxies } from "@unseal/service/http/networks"
import { describe, expect, it } from "vitest"
import { sign, startApp, uploaded } from "../../../test/harness/ingest/ingest-app.ts"

const SIGNED = "/callbacks/123456"
const BODY = JSON.stringify(uploaded({ partnerId: 123_456 }))

describe("allowed networks", () => {
  const headers = { "x-forwarded-for": "198.51.100.7", forwarded: "for=198.51.100.7" }

  it("cut a connection from outside before it takes a place, whatever its headers say", async () => {
    const limited = await startApp({ networks: parseNetworks("198.51.100.0/24") })
    const authorization = await sign(BODY)
    await expect(limited.post(SIGNED, BODY, { authorization, ...headers })).rejects.toThrow()
    expect(limited.jobs).toEqual([])
    expect(limited.logs[0]).toMatchObject({ msg: "connection cut", reason: "network", peer: "127.0.0.1" })
    expect(await limited.metrics()).toContain('unseal_connections_cut_total{reason="network"} 1')
    await limited.close()
  })

  it("admit a connection from inside", async () => {
    const limited = await startApp({ networks: parseNetworks("198.51.100.0/24,127.0.0.0/8") })
    const authorization = await sign(BODY)
    expect((await limited.post(SIGNED, BODY, { authorization, ...headers })).status).toBe(202)
    await limited.close()
  })

  it.each([
    ["198.51.100.7", undefined, 202],
    ["203.0.113.9, 198.51.100.7", undefined, 202],
    ["198.51.100.7, 203.0.113.9", undefined, 401],
    ["198.51.100.7, 10.0.0.1", undefined, 202],
    [undefined, "for=198.51.100.7;proto=https", 202],
    [undefined, 'for=198.51.100.7, for="203.0.113.9:80"', 401],
    ["198.51.100.7", "for=198.51.100.7", 202],
    ["198.51.100.7", "for=203.0.113.9", 503],
    [undefined, undefined, 401],
  ])("count for the sender that a trusted proxy names: %s, %s", async (xff, forwarded, status) => {
    const proxied = await startApp({
      networks: parseNetworks("198.51.100.0/24"),
      proxies: trustProxies(parseNetworks("127.0.0.1,10.0.0.0/8")),
    })
    const response = await proxied.post(SIGNED, BODY, {
      authorization: await sign(BODY),
      ...(xff !== undefined && { "x-forwarded-for": xff }),
      ...(forwarded !== undefined && { forwarded }),
    })
    expect(response.status).toBe(status)
    if (status === 202) expect(proxied.logs[0]).toMatchObject({ peer: "198.51.100.7" })
    await proxied.close()
  })
})
