import { once } from "node:events"
import type { Socket } from "node:net"
import { parseNetworks, trustProxies } from "@unseal/service/http/networks"
import { describe, expect, it } from "vitest"
import { app, start } from "../../../test/harness/ingest/ingest-each.ts"
import { HEAD, open, readToEnd, works } from "../../../test/harness/ingest/ingest-sockets.ts"

const PROBE = "GET /callbacks/100 HTTP/1.1\r\nHost: x\r\n\r\n"

/** A connection that has had its answer and is kept open. */
async function idle(): Promise<Socket> {
  const socket = await open()
  const answered = once(socket, "data")
  socket.write(PROBE)
  await answered
  return socket
}

/** A connection with a request in progress, which waits for the rest of the body. */
async function busy(): Promise<Socket> {
  const socket = await open()
  const continued = once(socket, "data")
  socket.write(`${HEAD}Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n`)
  await continued
  return socket
}

describe("a crowd", () => {
  const patient = { headersTimeoutMs: 60_000, requestTimeoutMs: 60_000 }

  it("of idle connections makes way for a new one, the longest idle one first", async () => {
    await start({ limits: { ...patient, maxConnections: 3 } })
    const oldest = await idle()
    const ended = readToEnd(oldest)
    const others = [await busy(), await idle()]
    await works()
    await ended
    expect(others.every((socket) => !socket.destroyed)).toBe(true)
    expect(app.logs.find(({ msg }) => msg === "connection cut")).toMatchObject({ reason: "idle" })
    for (const socket of others) socket.destroy()
  })

  it("from one address has a cap of its own, unless the address is a proxy", async () => {
    await start({ limits: { ...patient, maxConnections: 10, maxConnectionsPerAddress: 2 } })
    const held = [await busy(), await busy()]
    expect(await readToEnd(await open())).toBe("")
    expect(app.logs.at(-1)).toMatchObject({ msg: "connection cut", reason: "address" })
    for (const socket of held) socket.destroy()
    await app.close()

    const proxies = trustProxies(parseNetworks("127.0.0.1"))
    await start({ proxies, limits: { ...patient, maxConnections: 10, maxConnectionsPerAddress: 2 } })
    const behind = [await busy(), await busy()]
    await works()
    for (const socket of behind) socket.destroy()
  })

  it("gets no more connections than the cap, and frees its places when it goes", async () => {
    await start({ limits: { maxConnections: 3, headersTimeoutMs: 60_000, requestTimeoutMs: 60_000 } })
    const held = [await busy(), await busy(), await busy()]
    expect(await readToEnd(await open())).toBe("")
    expect(app.logs.at(-1)).toMatchObject({ msg: "connection cut", reason: "full" })
    for (const socket of held) {
      socket.destroy()
      await once(socket, "close")
    }
    // The server learns of the closing a little later than we do.
    for (let tries = 0; ; tries++)
      try {
        await works()
        break
      } catch (error) {
        if (tries === 100) throw error
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
  })
})
