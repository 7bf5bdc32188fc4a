import { Agent, type AgentOptions, type RequestOptions } from "node:https"
import { isIP, type LookupFunction } from "node:net"
import type { Duplex } from "node:stream"
import { type ConnectionOptions, connect as connectTls } from "node:tls"
import { type FindProxy, openTunnel } from "../http/proxy.ts"
import { AddressRefused } from "./allowed-hosts.ts"

/**
 * Node's agent, except for hosts behind a proxy. The proxy resolves the name, so its own rules must keep it from private
 * addresses. If this machine can resolve the name as well, `lookup` checks it before the proxy is asked.
 */
export class ProxiedAgent extends Agent {
  readonly #findProxy: FindProxy
  readonly #timeoutMs: number
  readonly #lookup: LookupFunction | undefined

  constructor(options: AgentOptions, findProxy: FindProxy, timeoutMs: number) {
    super(options)
    this.#findProxy = findProxy
    this.#timeoutMs = timeoutMs
    this.#lookup = options.lookup
  }

  override createConnection(
    options: RequestOptions,
    done?: (error: Error | null, socket: Duplex) => void,
  ): Duplex | null | undefined {
    const origin = { secure: true, host: options.host ?? "", port: Number(options.port ?? 443) }
    const proxy = this.#findProxy(origin)
    if (proxy === undefined) return super.createConnection(options, done)
    const connect = async () => {
      await this.#check(origin.host)
      const socket = await openTunnel(proxy, origin, this.#timeoutMs)
      const servername = isIP(origin.host) === 0 ? { servername: origin.host } : {}
      return connectTls({ ...(options as ConnectionOptions), ...servername, socket })
    }
    connect().then(
      (socket) => done?.(null, socket),
      // There is no socket to pass.
      (error: Error) => done?.(error, undefined as unknown as Duplex),
    )
    return undefined
  }

  #check(host: string): Promise<void> {
    const look = this.#lookup
    if (look === undefined || isIP(host) !== 0) return Promise.resolve()
    return new Promise((resolve, reject) =>
      look(host, {}, (error) => (error instanceof AddressRefused ? reject(error) : resolve())),
    )
  }
}
