import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { parseHostList } from "@unseal/archive/store/https/allowed-hosts"
import { createJobPayload } from "@unseal/queue/jobs/job"
import { afterEach, beforeEach, expect, test } from "vitest"
import { createFallback } from "./fallback.ts"
import type { JobResources } from "./project-resources.ts"

const PROJECT = "100001"
const ARCHIVE = "b40ef09b-3811-4726-b508-e41a0f96c68f"

let server: Server
let requests: number
let answer: { status: number; headers?: Record<string, string> }

beforeEach(async () => {
  requests = 0
  server = createServer((_, response) => {
    requests++
    response.writeHead(answer.status, answer.headers).end("{}")
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
})
afterEach(() => server.close())

function look() {
  const { port } = server.address() as AddressInfo
  const project = {
    ...{ id: PROJECT, platform: "opentok", apiUrl: `http://127.0.0.1:${port}` },
    credentials: { scheme: "opentok", apiSecret: "made up for this test" },
  }
  const config = {
    vendors: { ids: [PROJECT], get: () => project, refused() {} },
    settings: { UNSEAL_FALLBACK_HOSTS: parseHostList("*.amazonaws.com") },
  }
  const missing = { location: "s3://in", open: async () => null, stat: async () => null, async *read() {} }
  const resources = { source: missing, sourceKeys: ["archive.ts"] } as unknown as JobResources
  const job = createJobPayload({
    ...{ projectId: PROJECT, archiveId: ARCHIVE, encryptedPassword: "d3JhcHBlZA==", status: "available" },
    ...{ receivedAt: new Date().toISOString(), nonce: "n" },
  })
  const fallback = createFallback({ config, onRetry() {} } as unknown as Parameters<typeof createFallback>[0])
  return async () => {
    const worked: string[] = []
    const copy = fallback(resources, job, {
      worked: (side) => void worked.push(side),
      waits() {},
      isSuspended: () => false,
    })
    const [, key] = copy.resources.sourceKeys
    try {
      return await copy.resources.source.open(key!, 1_000, AbortSignal.timeout(60_000)).then(
        () => ({ worked, error: undefined }),
        (error: unknown) => ({ worked, error }),
      )
    } finally {
      await copy.close()
    }
  }
}

test("a vendor that is down is asked at most five times per look, and the trouble is the vendor's", async () => {
  answer = { status: 503 }
  const { error, worked } = await look()()
  expect(error).toMatchObject({ code: "ERR_STORE_UNAVAILABLE", owner: "deployment", side: "vendor" })
  expect(requests).toBeLessThanOrEqual(5)
  expect(worked).toEqual([])
})

test("a vendor that asks for a minute's pause is asked once, by any number of looks, and no slot waits for it", async () => {
  answer = { status: 429, headers: { "retry-after": "60" } }
  const ask = look()
  const before = performance.now()
  for (let each = 0; each < 3; each++)
    expect((await ask()).error).toMatchObject({ side: "vendor", owner: "deployment", retryAfterMs: 60_000 })
  expect(requests).toBe(1)
  expect(performance.now() - before).toBeLessThan(30_000)
}, 60_000)

test("a vendor that refuses the credentials is asked once", async () => {
  answer = { status: 403 }
  expect((await look()()).error).toMatchObject({ code: "ERR_STORE_DENIED", side: "vendor" })
  expect(requests).toBe(1)
})
