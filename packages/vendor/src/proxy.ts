import * as http from "node:http"

type Environment = Readonly<Record<string, string | undefined>>

/** Where clouds give a machine its credentials. Through a proxy, these addresses would give the proxy's. */
const METADATA = ["169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23"]

/** Why a proxy that is set has no effect, as a clause, or `undefined`. */
let withoutEffect: string | undefined

/**
 * Makes this process's `fetch` respect `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` (lower case takes precedence), as
 * the stores already do. Call it once, before the first request. Returns a function that undoes it. Where `node` lacks the call
 * (before 24.14), requests go direct, and one that fails says so.
 */
export function useProxies(
  env: Environment,
  node: { readonly setGlobalProxyFromEnv?: typeof http.setGlobalProxyFromEnv } = http,
): () => void {
  const one = (...names: string[]) => names.map((name) => env[name]).find(Boolean)
  const https_proxy = one("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
  const http_proxy = one("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
  if (https_proxy === undefined && http_proxy === undefined) return () => {}
  const listed = (one("no_proxy", "NO_PROXY") ?? "").split(/[\s,]+/).filter(Boolean)
  // A host stands for all names below it, but Node requires a leading dot for that.
  const below = listed.filter((entry) => /^[a-z][a-z0-9.-]*$/i.test(entry)).map((entry) => `.${entry}`)
  const withScheme = (proxy: string) => (proxy.includes("://") ? proxy : `http://${proxy}`)
  if (node.setGlobalProxyFromEnv === undefined) {
    withoutEffect = `requests to the vendor ignore HTTPS_PROXY with Node ${process.version}: take Node 24.14 or newer`
    return () => {
      withoutEffect = undefined
    }
  }
  return node.setGlobalProxyFromEnv({
    ...(https_proxy && { https_proxy: withScheme(https_proxy) }),
    ...(http_proxy && { http_proxy: withScheme(http_proxy) }),
    no_proxy: [...listed, ...below, ...METADATA].join(","),
  })
}

/**
 * If an error of `fetch` comes from a proxy that refused, or from one that this Node can't use: a clause that says so, and whose
 * move it is. Else `undefined`.
 */
export function proxyReason(error: unknown): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const status = /Proxy [^(]*\((\d{3})\)/.exec(cause.message)?.[1]
    if (status === undefined) continue
    const move =
      status === "407"
        ? "put a user and password that it takes into HTTPS_PROXY"
        : "its operator must allow the host, or put the host into NO_PROXY"
    return `the proxy (HTTPS_PROXY) answered ${status}: ${move}`
  }
  return withoutEffect
}
