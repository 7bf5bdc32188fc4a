import { openStore } from "@unseal/archive/store/open"
import { describe, expect, it, vi } from "vitest"
import { poisoned } from "../../harness/poisoned.ts"
import { sampleBytes, write } from "../suite/bytes.ts"
import { closing, never, PART, refusals, s3, through, tlsPort } from "../suite/proxied-stores.ts"

describe("Azure", () => {
  it("uses the proxy of the environment, which its SDK reads, and reports what the proxy answered", async () => {
    const { port, requests } = await through({ user: "ops:x" })
    // The SDK reads the process's own environment.
    vi.stubEnv("HTTP_PROXY", `http://ops:x@127.0.0.1:${port}`)
    const env = {
      AZURE_STORAGE_ACCOUNT: "account",
      AZURE_STORAGE_KEY: Buffer.alloc(64, 1).toString("base64"),
    }
    const store = poisoned(await openStore(`azure://archives?endpoint=${s3.url}/account`, { env }))
    closing.push(
      () => store.close(),
      () => vi.unstubAllEnvs(),
    )
    // There is no Azure. It is enough that the proxy was asked.
    await expect(store.stat("a.ts", never)).rejects.toMatchObject({ code: expect.stringMatching(/^ERR_/) })
    expect(requests[0]).toMatch(new RegExp(`^${s3.url}/account/archives/a\\.ts`))
  })

  /** Opens the store at `endpoint` through a proxy at `port`. */
  async function openBy(
    port: number,
    endpoint: string,
    { user = "", idleTimeoutMs = 5_000, variable = "HTTPS_PROXY" } = {},
  ) {
    const at = `http://${user}127.0.0.1:${port}`
    vi.stubEnv(variable, at)
    const key = Buffer.alloc(64, 1).toString("base64")
    const env = { AZURE_STORAGE_ACCOUNT: "account", AZURE_STORAGE_KEY: key, [variable]: at }
    const url = `azure://archives?endpoint=${endpoint}/account`
    const store = poisoned(await openStore(url, { env, idleTimeoutMs }))
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
          for (const host of [`127.0.0.1:${port}`, new URL(endpointBy(scheme)).host])
            expect(failure).toMatchObject({ reason: { message: expect.stringContaining(host) } })
        }
      })

  it.each(schemes)(
    "says that the proxy wants another password, and never shows it, over %s",
    async (scheme) => {
      const { port } = await through({ user: "other:one" })
      const store = await openBy(port, endpointBy(scheme), { user: "ops:hunter2hunter2@" })
      const failure = store.stat("a.ts", never)
      await expect(failure).rejects.toThrow(
        /wants another user and password \(407\): put them into HTTPS_PROXY/,
      )
      await expect(failure).rejects.not.toThrow(/hunter2/)
    },
  )

  it.each([
    ["https", "HTTPS_PROXY"],
    ["http", "HTTPS_PROXY"],
    ["http", "ALL_PROXY"],
  ] as const)(
    "says that the proxy can't be reached, over %s, and that %s names it",
    async (scheme, variable) => {
      const { port, close } = await through()
      await close()
      await expect(
        (await openBy(port, endpointBy(scheme), { variable })).stat("a.ts", never),
      ).rejects.toMatchObject({
        code: "ERR_STORE_UNAVAILABLE",
        message: `the proxy 127.0.0.1:${port} (${variable}) can't be reached: ECONNREFUSED`,
      })
    },
  )

  it.each(schemes)("does not wait for ever for a proxy that never answers, over %s", async (scheme) => {
    const { port } = await through({ silent: true })
    const store = await openBy(port, endpointBy(scheme), { idleTimeoutMs: 200 })
    await expect(store.stat("a.ts", never)).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
      message: expect.stringContaining("nothing moved for 0.2 s"),
    })
  })
})
