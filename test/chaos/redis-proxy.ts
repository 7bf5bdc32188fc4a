/** A TCP proxy between processes and their server, which injects network faults. */
import { type AddressInfo, connect, createServer, type Socket } from "node:net"

/** The fault of every connection, old and new, until it is changed. */
export type NetworkFault =
  | { readonly kind: "delay"; readonly ms: number }
  /** Nothing passes in either direction; connections stay open. */
  | { readonly kind: "freeze" }
  /** Commands reach Redis, replies vanish. */
  | { readonly kind: "drop-replies" }
  /** The first half of the next reply passes, then the connection is cut. */
  | { readonly kind: "halve" }
  /** Connections are cut, and new ones at once. */
  | { readonly kind: "refuse" }

export interface RedisProxy {
  /** The URL of a Redis behind the proxy. */
  readonly url: string
  readonly port: number
  fault(fault: NetworkFault): void
  honest(): void
  /** Cuts every open connection. */
  cut(): void
  close(): Promise<void>
}

export async function startRedisProxy(targetPort: number): Promise<RedisProxy> {
  let current: NetworkFault | null = null
  const sockets = new Set<Socket>()

  function pass(from: Socket, to: Socket, isReply: boolean): void {
    // Delayed pieces must not overtake each other.
    let queue = Promise.resolve()
    from.on("data", (data: Buffer) => {
      const fault = current
      if (fault?.kind === "freeze" || (fault?.kind === "drop-replies" && isReply)) return
      if (fault?.kind === "halve" && isReply) {
        to.write(data.subarray(0, Math.floor(data.length / 2)), () => to.destroy())
        from.destroy()
        return
      }
      const ms = fault?.kind === "delay" ? fault.ms : 0
      const arrived = Date.now()
      queue = queue.then(async () => {
        const wait = arrived + ms - Date.now()
        if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
        if (!to.destroyed) to.write(data)
      })
    })
    from.on("error", () => {})
    from.on("close", () => {
      sockets.delete(from)
      to.destroy()
    })
  }

  const server = createServer({ noDelay: true }, (client) => {
    if (current?.kind === "refuse") {
      client.resetAndDestroy()
      return
    }
    const redis = connect({ port: targetPort, host: "127.0.0.1", noDelay: true })
    sockets.add(client).add(redis)
    pass(client, redis, false)
    pass(redis, client, true)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))

  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  const { port } = server.address() as AddressInfo
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    fault(fault) {
      current = fault
      if (fault.kind === "refuse") cut()
    },
    honest() {
      // Swallowed traffic leaves a connection in a state that no network causes, so it must end.
      const swallowed = current?.kind === "freeze" || current?.kind === "drop-replies"
      current = null
      if (swallowed) cut()
    },
    cut,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      cut()
      await closed
    },
  }
}
