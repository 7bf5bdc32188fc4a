/** A small HTTP proxy for tunnels (CONNECT) and for requests with a whole URL. It counts both. */
import { createServer, request as forward, type RequestListener } from "node:http"
import { createServer as createSecureServer } from "node:https"
import { type AddressInfo, connect } from "node:net"

export interface ConnectProxy {
  readonly port: number
  /** `host:port` of each tunnel that was opened. */
  readonly tunnels: string[]
  /** URL of each request that was passed on. */
  readonly requests: string[]
  close(): Promise<void>
}

export interface ConnectProxyOptions {
  /** The required `user:password`. */
  readonly user?: string
  /** Answers everything with this status. */
  readonly status?: number
  /** Never answers. */
  readonly silent?: true
  /** All names lead to this address. */
  readonly leadsTo?: string
  /** It is an `https://` proxy, with this key and certificate (PEM). */
  readonly tls?: { readonly key: string | Buffer; readonly cert: string | Buffer }
}

export async function startConnectProxy(options: ConnectProxyOptions = {}): Promise<ConnectProxy> {
  const { user, status, silent, leadsTo } = options
  const tunnels: string[] = []
  const requests: string[] = []
  const refusal = (authorization: string | undefined): number | undefined => {
    if (status !== undefined) return status
    const demanded = user && `Basic ${Buffer.from(user).toString("base64")}`
    return demanded && authorization !== demanded ? 407 : undefined
  }
  const answer: RequestListener = (incoming, response) => {
    if (silent) return
    const refused = refusal(incoming.headers["proxy-authorization"])
    if (refused)
      return void response.writeHead(refused, { "content-type": "text/html" }).end("<html>no</html>")
    requests.push(incoming.url!)
    const { "proxy-authorization": _, ...headers } = incoming.headers
    const passed = forward(incoming.url!, { method: incoming.method, headers }, (passedOn) => {
      response.writeHead(passedOn.statusCode!, passedOn.rawHeaders)
      passedOn.pipe(response)
    })
    passed.on("error", () => response.destroy())
    incoming.pipe(passed)
  }
  const server = options.tls ? createSecureServer(options.tls, answer) : createServer(answer)
  server.on("connect", (incoming, socket) => {
    socket.on("error", () => {})
    if (silent) return
    const refused = refusal(incoming.headers["proxy-authorization"])
    if (refused) return void socket.end(`HTTP/1.1 ${refused} No\r\ncontent-length: 0\r\n\r\n`)
    const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(incoming.url!) ?? []
    const target = connect(Number(port), leadsTo ?? host, () => {
      tunnels.push(incoming.url!)
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n")
      socket.pipe(target).pipe(socket)
    })
    target.on("error", () => socket.destroy())
    socket.on("close", () => target.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const open = new Set<{ destroy(): void }>()
  server.on("connection", (socket) => {
    open.add(socket)
    socket.once("close", () => open.delete(socket))
  })
  return {
    port: (server.address() as AddressInfo).port,
    tunnels,
    requests,
    close: () =>
      new Promise((resolve) => {
        for (const socket of open) socket.destroy()
        server.close(() => resolve())
      }),
  }
}
