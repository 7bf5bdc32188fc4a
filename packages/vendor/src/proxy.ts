import { setGlobalProxyFromEnv } from "node:http"

type Environment = Readonly<Record<string, string | undefined>>

/** Where clouds tell a machine its own credentials: asked through a proxy, they would tell the proxy's. */
const METADATA = ["169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23"]

/**
 * Has this process's `fetch` keep to `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` (lower case goes first), as the
 * stores do by themselves. To be called once, before anything is asked. Gives what takes that back.
 */
export function useProxies(env: Environment): () => void {
  const one = (...names: string[]) => names.map((name) => env[name]).find(Boolean)
  const https_proxy = one("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
  const http_proxy = one("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
  if (https_proxy === undefined && http_proxy === undefined) return () => {}
  const listed = (one("no_proxy", "NO_PROXY") ?? "").split(/[\s,]+/).filter(Boolean)
  // A host is meant with all names below it; Node takes that only with a dot.
  const below = listed.filter((entry) => /^[a-z][a-z0-9.-]*$/i.test(entry)).map((entry) => `.${entry}`)
  const withScheme = (proxy: string) => (proxy.includes("://") ? proxy : `http://${proxy}`)
  return setGlobalProxyFromEnv({
    ...(https_proxy && { https_proxy: withScheme(https_proxy) }),
    ...(http_proxy && { http_proxy: withScheme(http_proxy) }),
    no_proxy: [...listed, ...below, ...METADATA].join(","),
  })
}

/** What an error of `fetch` says of a proxy that refused, as a clause that says whose move it is; `undefined` if none did. */
export function proxyReason(error: unknown): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const status = /Proxy [^(]*\((\d{3})\)/.exec(cause.message)?.[1]
    if (status === undefined) continue
    const move =
      status === "407"
        ? "put a user and password that it takes into HTTPS_PROXY"
        : "its operator must allow the host, or you put it into NO_PROXY"
    return `the proxy (HTTPS_PROXY) answered ${status}: ${move}`
  }
  return undefined
}
