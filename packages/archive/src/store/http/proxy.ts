/**
 * Finds a host's proxy in `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` (lower case takes precedence). A proxy resolves
 * names by itself. It may require a user and a password, which no message contains.
 */
import { request as requestHttp } from "node:http"
import { request as requestHttps } from "node:https"
import { BlockList, isIP, isIPv4, type Socket } from "node:net"
import { UnsealError } from "../../errors.ts"
import { StoreUrlError } from "../url-error.ts"
import type { Origin } from "./origin.ts"

type Environment = Readonly<Record<string, string | undefined>>

export interface HttpProxy extends Origin {
  /** The variable that sets it. */
  readonly variable: string
  /** The value of `Proxy-Authorization`. */
  readonly authorization: string | undefined
}

/** Finds the proxy for an origin; `undefined` to connect directly. */
export type FindProxy = (origin: Origin) => HttpProxy | undefined

/** Reads the environment. Throws a `StoreUrlError` that names a variable without a usable proxy. */
export function readProxies(env: Environment): FindProxy {
  const [secure, plain] = [proxyIn(env, "HTTPS_PROXY"), proxyIn(env, "HTTP_PROXY")]
  if (secure === undefined && plain === undefined) return () => undefined
  const isDirect = readNoProxy(env.no_proxy || env.NO_PROXY || "")
  return (origin) => {
    const proxy = origin.secure ? secure : plain
    return proxy === undefined || isDirect(origin) ? undefined : proxy
  }
}

/** What is wrong with the proxies of the environment, one clause each. */
export function proxyProblems(env: Environment): string[] {
  try {
    readProxies(env)
    return []
  } catch (error) {
    if (!(error instanceof StoreUrlError)) throw error
    return [error.message]
  }
}

function proxyIn(env: Environment, name: string): HttpProxy | undefined {
  const variable = [name.toLowerCase(), name, "all_proxy", "ALL_PROXY"].find((one) => env[one])
  const text = variable && env[variable]
  if (!variable || !text) return undefined
  const url = URL.parse(text.includes("://") ? text : `http://${text}`)
  if (url === null || !["http:", "https:"].includes(url.protocol))
    throw new StoreUrlError(`${variable} is not a proxy: http://host:port or https://host:port`)
  const secure = url.protocol === "https:"
  const { username, password } = url
  let authorization: string | undefined
  try {
    const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
    if (pair !== ":") authorization = `Basic ${Buffer.from(pair).toString("base64")}`
  } catch {
    throw new StoreUrlError(`${variable} has a broken percent-encoding in its user or password`)
  }
  const host = url.hostname.replaceAll(/[[\]]/g, "")
  return { variable, authorization, secure, host, port: Number(url.port || (secure ? 443 : 80)) }
}

/** Parses hosts (with all names below them), `*`, addresses and networks, each with an optional port, split by commas or spaces. */
function readNoProxy(text: string): (origin: Origin) => boolean {
  const entries = text
    .toLowerCase()
    .split(/[\s,]+/)
    .filter(Boolean)
  const networks = new BlockList()
  for (const entry of entries) {
    const [, network = "", prefix] = /^([0-9a-f:.]+)\/(\d{1,3})$/.exec(entry) ?? []
    const kind = isIPv4(network) ? "ipv4" : "ipv6"
    if (isIP(network) !== 0 && Number(prefix) <= (kind === "ipv4" ? 32 : 128))
      networks.addSubnet(network, Number(prefix), kind)
  }
  return ({ host, port }) => {
    const name = host.toLowerCase()
    if (isIP(name) !== 0 && networks.check(name, isIPv4(name) ? "ipv4" : "ipv6")) return true
    return entries.some((entry) => {
      if (entry === "*") return true
      const [, ended = "", onlyPort] = /^\[?(.*?)\]?(?::(\d{1,5}))?$/.exec(
        isIP(entry) === 6 ? `[${entry}]` : entry,
      )!
      if (onlyPort !== undefined && Number(onlyPort) !== port) return false
      const bare = ended.replace(/^\*?\./, "")
      return name === bare || (isIP(name) === 0 && name.endsWith(`.${bare}`))
    })
  }
}

const nameOf = ({ host, port }: Origin): string => `${host.includes(":") ? `[${host}]` : host}:${port}`

/** For messages. */
const described = (proxy: HttpProxy): string => `the proxy ${nameOf(proxy)} (${proxy.variable})`

const proxyUnreachable = (proxy: HttpProxy, reason: string): UnsealError =>
  new UnsealError("ERR_STORE_UNAVAILABLE", `${described(proxy)} can't be reached: ${reason}`)

/** Codes of a failed connection. Behind a proxy, connections are made only to the proxy, which itself connects to the store. */
const UNREACHABLE = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"])

/** `error`, or if it says that no connection to the proxy could be made, the error that names the proxy. */
export function namingProxy(proxy: HttpProxy, error: unknown): unknown {
  const code = String((error as { code?: unknown } | null)?.code)
  return UNREACHABLE.has(code) ? proxyUnreachable(proxy, code) : error
}

/** The error for a proxy's own answer with `status`. It says whose move it is. */
export function proxyRefusal(proxy: HttpProxy, origin: Origin, status: number): UnsealError {
  const who = described(proxy)
  const where = nameOf(origin)
  if (status === 407)
    return new UnsealError(
      "ERR_STORE_DENIED",
      `${who} wants ${proxy.authorization ? "another" : "a"} user and password (407): put them into ${proxy.variable}, or ${where} into NO_PROXY`,
    )
  if (status >= 400 && status < 500 && ![408, 425, 429].includes(status))
    return new UnsealError(
      "ERR_STORE_DENIED",
      `${who} refuses to connect to ${where} (${status}): its operator must allow the host, or put the host into NO_PROXY`,
    )
  return new UnsealError(
    "ERR_STORE_UNAVAILABLE",
    `${who} could not connect to ${where} (${status}): check the proxy's own network`,
  )
}

/** Whether an answer is the proxy's own. A store identifies itself in some header. */
export const isOfProxy = (status: number, headers: Readonly<Record<string, string>>): boolean =>
  status === 407 ||
  (status >= 400 &&
    !Object.keys(headers).some((name) => /^x-(amz|ms)-/.test(name)) &&
    !/xml/.test(headers["content-type"] ?? ""))

/**
 * Opens a tunnel to `origin` (RFC 9110, section 9.3.6). Throws `ERR_STORE_DENIED` or `ERR_STORE_UNAVAILABLE` with what the proxy
 * did. Gives up a proxy that does not answer within `timeoutMs`.
 */
export function openTunnel(
  proxy: HttpProxy,
  origin: Origin,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const target = nameOf(origin)
    const { host, port, authorization } = proxy
    const asking = (proxy.secure ? requestHttps : requestHttp)({
      ...{ host, port, method: "CONNECT", path: target, agent: false },
      headers: { host: target, ...(authorization && { "proxy-authorization": authorization }) },
    })
    const failWith = (error: UnsealError) =>
      end(() => {
        asking.destroy()
        reject(error)
      })
    const abort = () =>
      end(() => {
        asking.destroy()
        reject(signal!.reason)
      })
    const late = setTimeout(() => {
      const what = `${described(proxy)} did not open a tunnel within ${timeoutMs} ms`
      failWith(new UnsealError("ERR_STORE_UNAVAILABLE", what))
    }, timeoutMs)
    let isOver = false
    function end(what: () => void): void {
      if (isOver) return
      isOver = true
      clearTimeout(late)
      signal?.removeEventListener("abort", abort)
      what()
    }
    signal?.addEventListener("abort", abort, { once: true })
    asking
      .once("connect", ({ statusCode = 0 }, socket: Socket) =>
        end(() => {
          if (statusCode >= 200 && statusCode < 300) return resolve(socket)
          socket.destroy()
          reject(proxyRefusal(proxy, origin, statusCode))
        }),
      )
      .on("error", (error: NodeJS.ErrnoException) =>
        failWith(proxyUnreachable(proxy, error.code ?? error.message)),
      )
      .end()
  })
}
