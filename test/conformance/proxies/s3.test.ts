/** Stores behind a proxy: tunnels for https, and whole URLs for http. */

import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { openStore } from "@unseal/archive/store/open"
import { describe, expect, it, vi } from "vitest"
import { poisoned } from "../../harness/poisoned.ts"
import { expectSameBytes, readAll, sampleBytes, write } from "../suite/bytes.ts"
import {
  bundle,
  certified,
  closing,
  credentials,
  directory,
  never,
  PART,
  refusals,
  s3,
  through,
  tlsPort,
} from "../suite/proxied-stores.ts"

const PASSWORD = "hunter2@%"

async function open(endpoint: string, env: Readonly<Record<string, string>>, idleTimeoutMs = 5_000) {
  const query = new URLSearchParams({ endpoint, pathStyle: "true" })
  const store = poisoned(
    await openStore(`s3://archives?${query}`, { env, credentials, partSizeBytes: PART, idleTimeoutMs }),
  )
  closing.push(() => store.close())
  return store
}

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
        await expect(failure).rejects.toThrow(new URL(endpoint).host)
        // Also through the SDK.
        await expect(store.remove("a.ts", never)).rejects.toMatchObject({ code })
      }
    })

  it("says that the proxy can't be reached, over TLS and without", async () => {
    const { port, close } = await through()
    await close()
    const env = { ALL_PROXY: `127.0.0.1:${port}`, AWS_CA_BUNDLE: bundle }
    for (const endpoint of [`https://127.0.0.1:${tlsPort()}`, s3.url]) {
      const store = await open(endpoint, env)
      for (const ask of [() => store.stat("a.ts", never), () => store.remove("a.ts", never)])
        await expect(ask()).rejects.toMatchObject({
          code: "ERR_STORE_UNAVAILABLE",
          message: expect.stringContaining(
            `the proxy 127.0.0.1:${port} (ALL_PROXY) can't be reached: ECONNREFUSED`,
          ),
        })
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
