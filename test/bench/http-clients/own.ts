/** Unseal's own client: the transport of the S3 adapter, without the SDK and without signatures. */
import { originOf } from "@unseal/archive/store/http/origin"
import { S3Transport } from "@unseal/archive/store/s3/connection/transport"
import { Arrival, checkPut, IDLE_TIMEOUT_MS, type OpenHttpClient, rangeOf } from "./client.ts"

export const open: OpenHttpClient = ({ origin: url, ca }) => {
  const limits = { connectTimeoutMs: IDLE_TIMEOUT_MS, idleTimeoutMs: IDLE_TIMEOUT_MS }
  const transport = new S3Transport(limits, { ca })
  const origin = originOf(url)
  return {
    async get(target, start, into) {
      const headers = { host: url.host, range: rangeOf(start, into) }
      const { status, body } = await transport.exchange(origin, { method: "GET", target, headers, body: [] })
      const arrival = new Arrival(into)
      for await (const piece of body) arrival.add(piece)
      arrival.end(status)
    },
    async put(target, bytes) {
      const headers = { host: url.host, "content-length": String(bytes.length) }
      const request = { method: "PUT", target, headers, body: [bytes] }
      const { status, body } = await transport.exchange(origin, request)
      for await (const _ of body);
      checkPut(status)
    },
    async close() {
      transport.destroy()
    },
  }
}
