/** Stores behind a proxy: tunnels for https, and whole URLs for http. */
import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer as createHttpsServer, type Server as HttpsServer } from "node:https"
import { type AddressInfo, connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import {
  createServer as createTlsServer,
  getCACertificates,
  type Server,
  setDefaultCACertificates,
} from "node:tls"
import { promisify } from "node:util"
import { parseHostList } from "@unseal/archive/store/https/allowed-hosts"
import { openHttpsStore } from "@unseal/archive/store/https/source"
import { openStore } from "@unseal/archive/store/open"
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest"
import { type S3Server, startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import {
  type ConnectProxy,
  type ConnectProxyOptions,
  startConnectProxy,
} from "../harness/network/connect-proxy.ts"
import { poisoned } from "../harness/poisoned.ts"
import { expectSameBytes, readAll, sampleBytes, write } from "./suite/bytes.ts"

const PART = 6972 * 752
const never = new AbortController().signal
const credentials = { accessKeyId: "UNSEALTESTACCESSKEY", secretAccessKey: "canary-secret-access-key" }
const PASSWORD = "hunter2@%"

let directory: string
let bundle: string
let s3: S3Server
let tls: Server
let proxy: ConnectProxy | undefined
const closing: (() => unknown)[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-proxy-"))
  const key = join(directory, "key.pem")
  bundle = join(directory, "cert.pem")
  await promisify(execFile)("openssl", [
    ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"],
    ...[
      "-addext",
      "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:s3.example.test,DNS:copies.example.invalid",
    ],
    ...["-keyout", key, "-out", bundle],
  ])
  s3 = await startS3Server({ credentials: [credentials], buckets: ["archives"] })
  tls = createTlsServer({ key: await readFile(key), cert: await readFile(bundle) }, (socket) => {
    const inner = connect(s3.port, "127.0.0.1")
    socket.pipe(inner).pipe(socket)
    for (const one of [socket, inner]) one.on("error", () => one.destroy())
    socket.on("close", () => inner.destroy())
    closing.push(() => socket.destroy())
  })
  await new Promise<void>((resolve) => tls.listen(0, "127.0.0.1", resolve))
})
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
  await proxy?.close()
  proxy = undefined
})
afterAll(async () => {
  tls.close()
  await s3.close()
  await rm(directory, { recursive: true })
})

const certified = async () => ({
  key: await readFile(join(directory, "key.pem")),
  cert: await readFile(bundle),
})
const tlsPort = () => (tls.address() as AddressInfo).port

async function open(endpoint: string, env: Readonly<Record<string, string>>, idleTimeoutMs = 5_000) {
  const query = new URLSearchParams({ endpoint, pathStyle: "true" })
  const store = poisoned(
    await openStore(`s3://archives?${query}`, { env, credentials, partSizeBytes: PART, idleTimeoutMs }),
  )
  closing.push(() => store.close())
  return store
}

async function through(options: ConnectProxyOptions = {}): Promise<ConnectProxy> {
  proxy = await startConnectProxy(options)
  return proxy
}

/** Statuses that a proxy answers, and what is reported for each. */
const refusals = [
  [407, "ERR_STORE_DENIED", /wants a user and password \(407\): put them into HTTPS?_PROXY/],
  [403, "ERR_STORE_DENIED", /refuses to lead to 127\.0\.0\.1:\d+ \(403\): its operator must allow the host/],
  [502, "ERR_STORE_UNAVAILABLE", /could not lead to 127\.0\.0\.1:\d+ \(502\): check the proxy's own network/],
] as const

describe("S3", () => {
  it("with TLS goes through tunnels, which are reused, in one part and in several", async () => {
    const { port, tunnels, requests } = await through({ user: `ops:${PASSWORD}`, leadsTo: "127.0.0.1" })
    const HTTPS_PROXY = `http://ops:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}`
    const where = `s3.example.test:${tlsPort()}`
    const store = await open(`https://${where}`, { HTTPS_PROXY, AWS_CA_BUNDLE: bundle })
    for (const size of [188 * 100, 2 * PART + 188]) {
      const bytes = sampleBytes(`tunnel ${size}`, size)
      await write(store, `tunnel/${size}.ts`, bytes)
      expectSameBytes(await readAll(store, `tunnel/${size}.ts`), bytes)
    }
    expect(new Set(tunnels)).toEqual(new Set([where]))
    expect(tunnels.length).toBeLessThan(8)
    expect(requests).toEqual([])
  })

  it("without TLS uses whole URLs", async () => {
    const { port, tunnels, requests } = await through({ user: "ops:x" })
    const store = await open(s3.url, { http_proxy: `http://ops:x@127.0.0.1:${port}` })
    const bytes = sampleBytes("plain", 2 * PART + 188)
    await write(store, "plain/whole.ts", bytes)
    expectSameBytes(await readAll(store, "plain/whole.ts"), bytes)
    expect(await store.stat("plain/none.ts", never)).toBeNull()
    expect(tunnels).toEqual([])
    expect(requests.length).toBeGreaterThan(8)
    for (const url of requests) expect(url).toMatch(new RegExp(`^${s3.url}/archives`))
  })

  it("asks a proxy over TLS if its URL says so", async () => {
    const { port, requests } = await through({ tls: await certified() })
    const store = await open(s3.url, { HTTP_PROXY: `https://127.0.0.1:${port}`, AWS_CA_BUNDLE: bundle })
    const bytes = sampleBytes("secure proxy", 188)
    await write(store, "secure/proxy.ts", bytes)
    expectSameBytes(await readAll(store, "secure/proxy.ts"), bytes)
    expect(requests.length).toBeGreaterThan(1)
  })

  it("connects directly to the hosts of NO_PROXY", async () => {
    const { port, tunnels, requests } = await through()
    const env = { HTTPS_PROXY: `http://127.0.0.1:${port}`, HTTP_PROXY: `http://127.0.0.1:${port}` }
    for (const NO_PROXY of ["127.0.0.1", "*", "example.test, 127.0.0.0/8", `127.0.0.1:${s3.port}`]) {
      const store = await open(s3.url, { ...env, NO_PROXY })
      expect(await store.stat("none.ts", never)).toBeNull()
    }
    expect([tunnels, requests]).toEqual([[], []])
    const store = await open(s3.url, { ...env, NO_PROXY: `127.0.0.1:1,.127.0.0.1.test,10.0.0.0/8` })
    expect(await store.stat("none.ts", never)).toBeNull()
    expect(requests.length).toBeGreaterThan(0)
  })

  it.each([
    ["media", "", "media.s3.us-east-1.amazonaws.com"],
    ["media", "true", "media.s3-fips.us-east-1.amazonaws.com"],
    [
      "arn:aws:s3:us-east-1:111122223333:accesspoint/media",
      "true",
      "media-111122223333.s3-accesspoint-fips.us-east-1.amazonaws.com",
    ],
  ])(
    "reaches %s with AWS_USE_FIPS_ENDPOINT=%s at the SDK's host, on every path",
    async (bucket, fips, host) => {
      const { port } = await through({ status: 403 })
      vi.stubEnv("AWS_USE_FIPS_ENDPOINT", fips || undefined)
      const env = { HTTPS_PROXY: `http://127.0.0.1:${port}` }
      const store = await openStore(`s3://${bucket}?region=us-east-1`, { env, credentials })
      closing.push(
        () => store.close(),
        () => vi.unstubAllEnvs(),
      )
      // The proxy refuses, and says where it was asked to lead: our own connections, and the SDK's.
      for (const ask of [() => store.stat("a.ts", never), () => store.remove("a.ts", never)])
        await expect(ask()).rejects.toThrow(`${host}:443`)
    },
  )

  for (const [status, code, words] of refusals)
    it(`says that the proxy answered ${status}, and whose move it is`, async () => {
      const { port } = await through({ status })
      const env = { HTTPS_PROXY: `127.0.0.1:${port}`, HTTP_PROXY: `127.0.0.1:${port}`, AWS_CA_BUNDLE: bundle }
      for (const endpoint of [`https://127.0.0.1:${tlsPort()}`, s3.url]) {
        const store = await open(endpoint, env)
        const failure = store.stat("a.ts", never)
        await expect(failure).rejects.toMatchObject({ code, message: expect.stringMatching(words) })
        await expect(failure).rejects.toThrow(`127.0.0.1:${port}`)
        // Also through the SDK.
        await expect(store.remove("a.ts", never)).rejects.toMatchObject({ code })
      }
    })

  it("does not wait for ever for a proxy that never answers, nor after an abort", async () => {
    const { port } = await through({ silent: true })
    const env = { HTTPS_PROXY: `http://127.0.0.1:${port}`, AWS_CA_BUNDLE: bundle }
    const endpoint = `https://127.0.0.1:${tlsPort()}`
    const store = await open(endpoint, env, 100)
    await expect(store.stat("a.ts", never)).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
      message: expect.stringMatching(/did not open a tunnel within 100 ms/),
    })
    const reason = new Error("shutting down")
    const aborted = (await open(endpoint, env, 60_000)).stat("a.ts", AbortSignal.abort(reason))
    await expect(aborted).rejects.toBe(reason)
    const controller = new AbortController()
    const waiting = (await open(endpoint, env, 60_000)).stat("a.ts", controller.signal)
    setTimeout(() => controller.abort(reason), 50)
    await expect(waiting).rejects.toBe(reason)
  })

  it("never shows the password, whatever is wrong", async () => {
    const { port } = await through({ user: "other:one" })
    const env = { HTTPS_PROXY: `http://ops:hunter2hunter2@127.0.0.1:${port}`, AWS_CA_BUNDLE: bundle }
    const store = await open(`https://127.0.0.1:${tlsPort()}`, env)
    await expect(store.stat("a.ts", never)).rejects.toThrow(/wants another user and password/)
    await expect(store.stat("a.ts", never)).rejects.not.toThrow(/hunter2/)
    for (const HTTPS_PROXY of ["socks5://ops:hunter2hunter2@host:1", "http://ops:%hunter2hunter2@host:1"]) {
      const opening = openStore("s3://archives?region=x", { env: { HTTPS_PROXY } })
      await expect(opening).rejects.toThrow(/^HTTPS_PROXY (is not a proxy|has a broken)/)
      await expect(opening).rejects.not.toThrow(/hunter2/)
    }
  })
})

describe("Azure", () => {
  it("uses the proxy of the environment, which its SDK reads, and reports what the proxy answered", async () => {
    const { port, requests } = await through({ user: "ops:x" })
    // The SDK reads the process's own environment.
    vi.stubEnv("HTTP_PROXY", `http://ops:x@127.0.0.1:${port}`)
    const store = await openStore(`azure://archives?endpoint=${s3.url}/account`, {
      env: { AZURE_STORAGE_ACCOUNT: "account", AZURE_STORAGE_KEY: Buffer.alloc(64, 1).toString("base64") },
    })
    closing.push(
      () => store.close(),
      () => vi.unstubAllEnvs(),
    )
    // There is no Azure. It is enough that the proxy was asked.
    await expect(store.stat("a.ts", never)).rejects.toMatchObject({ code: expect.stringMatching(/^ERR_/) })
    expect(requests[0]).toMatch(new RegExp(`^${s3.url}/account/archives/a\\.ts`))
  })

  /** Opens the store at `endpoint` through a proxy at `port`. */
  async function openBy(port: number, endpoint: string, user = "", idleTimeoutMs = 5_000) {
    const HTTPS_PROXY = `http://${user}127.0.0.1:${port}`
    vi.stubEnv("HTTPS_PROXY", HTTPS_PROXY)
    const key = Buffer.alloc(64, 1).toString("base64")
    const store = await openStore(`azure://archives?endpoint=${endpoint}/account`, {
      env: { AZURE_STORAGE_ACCOUNT: "account", AZURE_STORAGE_KEY: key, HTTPS_PROXY },
      idleTimeoutMs,
    })
    closing.push(
      () => store.close(),
      () => vi.unstubAllEnvs(),
    )
    return store
  }
  const schemes = ["https", "http"] as const
  const endpointBy = (scheme: "https" | "http") =>
    scheme === "https" ? `https://127.0.0.1:${tlsPort()}` : s3.url

  for (const scheme of schemes)
    for (const [status, code, words] of refusals)
      it(`says that the proxy answered ${status}, and whose move it is, over ${scheme}`, async () => {
        const { port } = await through({ status })
        const store = await openBy(port, endpointBy(scheme))
        const failures = [
          store.stat("a.ts", never),
          store.open("a.ts", 100, never),
          write(store, "a.ts", sampleBytes("proxy", 188)),
          write(store, "a.ts", sampleBytes("proxy", 2 * PART + 188)),
        ]
        for (const failure of await Promise.allSettled(failures)) {
          expect(failure).toMatchObject({ reason: { code, message: expect.stringMatching(words) } })
          expect(failure).toMatchObject({ reason: { message: expect.stringContaining(`127.0.0.1:${port}`) } })
        }
      })

  it.each(schemes)(
    "says that the proxy wants another password, and never shows it, over %s",
    async (scheme) => {
      const { port } = await through({ user: "other:one" })
      const store = await openBy(port, endpointBy(scheme), "ops:hunter2hunter2@")
      const failure = store.stat("a.ts", never)
      await expect(failure).rejects.toThrow(
        /wants another user and password \(407\): put them into HTTPS_PROXY/,
      )
      await expect(failure).rejects.not.toThrow(/hunter2/)
    },
  )

  it.each(schemes)("says that the proxy can't be reached, over %s", async (scheme) => {
    const { port, close } = await through()
    await close()
    proxy = undefined
    await expect((await openBy(port, endpointBy(scheme))).stat("a.ts", never)).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
      message: `the proxy 127.0.0.1:${port} (HTTPS_PROXY) can't be reached: ECONNREFUSED`,
    })
  })

  it.each(schemes)("does not wait for ever for a proxy that never answers, over %s", async (scheme) => {
    const { port } = await through({ silent: true })
    const store = await openBy(port, endpointBy(scheme), "", 200)
    await expect(store.stat("a.ts", never)).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
      message: expect.stringContaining("nothing moved for 0.2 s"),
    })
  })
})

describe("AWS_CA_BUNDLE", () => {
  const endpoint = () => `https://127.0.0.1:${tlsPort()}`

  it("holds the certificates that verify the store, on every path", async () => {
    const store = await open(endpoint(), { AWS_CA_BUNDLE: bundle })
    const bytes = sampleBytes("bundle", 2 * PART + 188)
    await write(store, "bundle.ts", bytes)
    expectSameBytes(await readAll(store, "bundle.ts"), bytes)
  })

  it("is required for a store with a certificate of its own", async () => {
    const store = await open(endpoint(), {})
    await expect(store.stat("a.ts", never)).rejects.toThrow(/self-signed certificate/)
  })

  it("is refused when the store is opened if it can't be used", async () => {
    const empty = join(directory, "empty.pem")
    await writeFile(empty, "nothing")
    for (const [AWS_CA_BUNDLE, words] of [
      [join(directory, "none.pem"), /AWS_CA_BUNDLE names .*none\.pem, which can't be read \(ENOENT\)/],
      [empty, /AWS_CA_BUNDLE names .*empty\.pem, which holds no certificate/],
    ] as const)
      await expect(openStore("s3://archives?region=x", { env: { AWS_CA_BUNDLE } })).rejects.toThrow(words)
  })
})

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
    await expect(failure).rejects.toThrow(/the proxy 127\.0\.0\.1:\d+ \(HTTPS_PROXY\) refuses to lead to/)
  })
})

const copied = (chunk: Uint8Array): Uint8Array => Uint8Array.from(chunk)
