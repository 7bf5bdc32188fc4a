/** Shows each request of Azure's SDK to an observer, as those of the other stores are shown. */
import type { BlobServiceClient } from "@azure/storage-blob"
import { type ExchangeObserver, observeUrl } from "../http/exchanges.ts"
import { sendBy } from "./responses.ts"

/** Shows each request of `service`, and of all clients that it makes. Its end is that of the answer's body, if it is streamed. */
export function observeExchanges(service: BlobServiceClient, observe: ExchangeObserver): BlobServiceClient {
  return sendBy(service, {
    name: "observeExchanges",
    async sendRequest(request, next) {
      const end = observeUrl(observe, request.method, new URL(request.url))
      try {
        const response = await next(request)
        const { status, readableStreamBody: body } = response
        body?.once("error", (error) => end({ status, error })).once("close", () => end({ status }))
        if (body === undefined) end({ status })
        return response
      } catch (error) {
        end({ error })
        throw error
      }
    },
  })
}
