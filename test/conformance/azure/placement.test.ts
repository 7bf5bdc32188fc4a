/** How an Azure store's URL places new objects. Checked on the wire, because Azurite lacks encryption scopes. */

import { createServer, type IncomingHttpHeaders } from "node:http"
import type { AddressInfo } from "node:net"
import { openStore } from "@unseal/archive/store/open"
import { expect, it } from "vitest"
import { poisoned } from "../../harness/poisoned.ts"
import { sampleBytes, writeParts } from "../suite/bytes.ts"

const PART = 64 * 1024
const never = new AbortController().signal

it("an Azure object gets the tier, the encryption scope and the tags of the URL, in one part and in several", async () => {
  const requests: { comp: string; headers: IncomingHttpHeaders }[] = []
  const server = createServer(async (request, response) => {
    for await (const _ of request);
    const comp = new URL(request.url!, "http://x").searchParams.get("comp") ?? ""
    requests.push({ comp: `${request.method} ${comp}`, headers: request.headers })
    if (request.method !== "PUT") return response.writeHead(404, { "x-ms-error-code": "BlobNotFound" }).end()
    response.writeHead(201, { etag: '"0x1"', "last-modified": new Date().toUTCString() }).end()
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/account`
  const tags = "team=media&cost centre=4"
  const query = new URLSearchParams({ endpoint, accessTier: "Cool", encryptionScope: "media-1", tags })
  const env = { AZURE_STORAGE_ACCOUNT: "account", AZURE_STORAGE_KEY: Buffer.alloc(64, 1).toString("base64") }
  const store = poisoned(await openStore(`azure://archives?${query}`, { env, partSizeBytes: PART }))
  for (const parts of [1, 3]) {
    requests.length = 0
    const bytes = sampleBytes("placement", parts * PART)
    const options = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const
    const writer = await store.create("a.ts", bytes.length, options, never)
    await writer.complete(await writeParts(writer, bytes), never)
    const blocks = requests.filter(({ comp }) => comp === "PUT block")
    expect(blocks.map(({ headers }) => headers["x-ms-encryption-scope"])).toEqual(
      Array(parts).fill("media-1"),
    )
    const list = requests.find(({ comp }) => comp === "PUT blocklist")!
    expect(list.headers).toMatchObject({
      "x-ms-access-tier": "Cool",
      "x-ms-encryption-scope": "media-1",
      "x-ms-tags": "team=media&cost%20centre=4",
    })
  }
  await store.close()
  server.closeAllConnections()
  server.close()
})
