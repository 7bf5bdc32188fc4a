/**
 * What a proxy between here and Azure answers, named as S3's is. The SDK finds the proxy by itself, in the environment of the
 * process, and takes its answers for the store's.
 */
import type { BlobServiceClient } from "@azure/storage-blob"
import { originOf } from "../http/origin.ts"
import { type HttpProxy, isOfProxy, proxyRefusal, proxyUnreachable } from "../http/proxy.ts"
import { type PipelineRequest, sendBy } from "./answers.ts"

type Environment = Readonly<Record<string, string | undefined>>

/** In the SDK's order. One proxy serves both schemes. */
const VARIABLES = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"]

/** `service`, whose errors say `ERR_STORE_DENIED` or `ERR_STORE_UNAVAILABLE` and name the proxy where it was the proxy that failed. */
export function nameProxy(service: BlobServiceClient, env: Environment): BlobServiceClient {
  const variable = VARIABLES.find((name) => env[name]) ?? VARIABLES[0]!
  return sendBy(service, {
    name: "nameProxy",
    async sendRequest(request, next) {
      const proxy = proxyOf(request, variable)
      if (proxy === undefined) return next(request)
      const response = await next(request).catch((error: unknown) => {
        const { code } = error as { code?: unknown }
        // Whatever is connected to is the proxy; it alone connects to the store.
        throw UNREACHABLE.has(String(code)) ? proxyUnreachable(proxy, String(code)) : error
      })
      if (!isOfProxy(response.status, Object.fromEntries(response.headers))) return response
      throw proxyRefusal(proxy, originOf(new URL(request.url)), response.status)
    },
  })
}

const UNREACHABLE = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"])

/** The proxy that the SDK has chosen for `request`: its agents for that know it. */
function proxyOf({ agent }: PipelineRequest, variable: string): HttpProxy | undefined {
  const { proxy } = (agent ?? {}) as { proxy?: unknown }
  if (!(proxy instanceof URL)) return undefined
  const { username, password } = proxy
  // Only whether there is one is told.
  const authorization = username || password ? "Basic" : undefined
  return { variable, authorization, ...originOf(proxy) }
}
