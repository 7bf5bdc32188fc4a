import { readFile } from "node:fs/promises"
import { createServer as createHttpsServer, type Server as HttpsServer } from "node:https"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { getCACertificates, setDefaultCACertificates } from "node:tls"
import { parseHostList } from "@unseal/archive/store/https/allowed-hosts"
import { openHttpsStore } from "@unseal/archive/store/https/source"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { poisoned } from "../../harness/poisoned.ts"
import { expectSameBytes, sampleBytes } from "../suite/bytes.ts"
import { bundle, certified, closing, directory, never, through } from "../suite/proxied-stores.ts"

const copied = (chunk: Uint8Array): Uint8Array => Uint8Array.from(chunk)

describe("a copy behind an https URL", () => {
  const content = sampleBytes("copy", 3_000_000)
  let server: HttpsServer
  let port: number
  beforeAll(async () => {
    const pem = await readFile(bundle, "utf8")
    setDefaultCACertificates([...getCACertificates("default"), pem])
    server = createHttpsServer(
      { key: await readFile(join(directory, "key.pem")), cert: pem },
      (request, response) => {
        const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "")!
        const [start, end] = [Number(from), Math.min(Number(to) + 1, content.length)]
        response.writeHead(206, {
          ...{ etag: '"v1"', "content-length": end - start },
          "content-range": `bytes ${start}-${end - 1}/${content.length}`,
        })
        response.end(content.subarray(start, end))
      },
    )
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    port = (server.address() as AddressInfo).port
  })
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })

  function copyAt(host: string, env: Readonly<Record<string, string>>) {
    const hosts = parseHostList(`${host}:${port}`)
    const url = `https://${host}:${port}/archive?sig=hunter2hunter2`
    const store = poisoned(openHttpsStore({ key: "vendor://1/a", url, hosts, env, idleTimeoutMs: 5_000 }))
    closing.push(() => store.close())
    return store
  }

  it("is read through tunnels, even from a host that only the proxy can resolve", async () => {
    const { port: at, tunnels } = await through({ user: "ops:x", leadsTo: "127.0.0.1" })
    const env = { HTTPS_PROXY: `http://ops:x@127.0.0.1:${at}` }
    for (const host of ["127.0.0.1", "copies.example.invalid"]) {
      const store = copyAt(host, env)
      const object = (await store.stat("vendor://1/a", never))!
      const range = { start: 0, end: content.length }
      expectSameBytes(Buffer.concat(await Array.fromAsync(store.read(object, range, never), copied)), content)
      expect(tunnels).toContain(`${host}:${port}`)
    }
  })

  it("is read through a tunnel of a proxy that itself has TLS", async () => {
    const { port: at, tunnels } = await through({ tls: await certified() })
    const store = copyAt("127.0.0.1", { HTTPS_PROXY: `https://127.0.0.1:${at}` })
    expect(await store.stat("vendor://1/a", never)).toMatchObject({ size: content.length })
    expect(tunnels).toEqual([`127.0.0.1:${port}`])
  })

  it("is not read from a name that this machine resolves to a private address", async () => {
    const { port: at, tunnels } = await through({ leadsTo: "127.0.0.1" })
    const store = copyAt("localhost", { HTTPS_PROXY: `http://127.0.0.1:${at}` })
    await expect(store.stat("vendor://1/a", never)).rejects.toMatchObject({
      code: "ERR_STORE_DENIED",
      message: expect.stringMatching(/localhost leads to an address that is not public/),
    })
    expect(tunnels).toEqual([])
  })

  it("says that it was the proxy that refused", async () => {
    const { port: at } = await through({ status: 403 })
    const failure = copyAt("127.0.0.1", { HTTPS_PROXY: `http://127.0.0.1:${at}` }).stat("vendor://1/a", never)
    await expect(failure).rejects.toMatchObject({ code: "ERR_STORE_DENIED" })
    await expect(failure).rejects.toThrow(/the proxy 127\.0\.0\.1:\d+ \(HTTPS_PROXY\) refuses to connect to/)
  })
})
