/**
 * Names the proxy in errors that it caused on the way to Azure, as for S3. The SDK finds the proxy by itself, in the process's
 * environment, and takes the proxy's answers for the store's.
 */
import type { BlobServiceClient } from "@azure/storage-blob"
import { originOf } from "../http/origin.ts"
import { type HttpProxy, isOfProxy, namingProxy, proxyRefusal } from "../http/proxy.ts"
import { type PipelineRequest, sendBy } from "./responses.ts"

type Environment = Readonly<Record<string, string | undefined>>

/** In the SDK's order. One proxy serves both schemes. */
const VARIABLES = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"]

/** Makes errors of `service` name the proxy, as `ERR_STORE_DENIED` or `ERR_STORE_UNAVAILABLE`, if the proxy failed. */
export function nameProxy(service: BlobServiceClient, env: Environment): BlobServiceClient {
  const variable = VARIABLES.find((name) => env[name]) ?? VARIABLES[0]!
  return sendBy(service, {
    name: "nameProxy",
    async sendRequest(request, next) {
      const proxy = proxyOf(request, variable)
      if (proxy === undefined) return next(request)
      const response = await next(request).catch((error: unknown) => {
        throw namingProxy(proxy, error)
      })
      if (!isOfProxy(response.status, Object.fromEntries(response.headers))) return response
      throw proxyRefusal(proxy, originOf(new URL(request.url)), response.status)
    },
  })
}

/** The proxy that the SDK chose for `request`, taken from its agent. */
function proxyOf({ agent }: PipelineRequest, variable: string): HttpProxy | undefined {
  const { proxy } = (agent ?? {}) as { proxy?: unknown }
  if (!(proxy instanceof URL)) return undefined
  const { username, password } = proxy
  // Only its presence matters here.
  const authorization = username || password ? "Basic" : undefined
  return { variable, authorization, ...originOf(proxy) }
}
