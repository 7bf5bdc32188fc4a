/** Bare sockets to the ingest application of a test. */

import { once } from "node:events"
import { connect, type Socket } from "node:net"
import { afterEach, expect } from "vitest"
import { uploaded } from "./ingest-app.ts"
import { app } from "./ingest-each.ts"

const sockets: Socket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
})

export async function open(): Promise<Socket> {
  const socket = connect(app.port, "127.0.0.1")
  socket.on("error", () => {})
  sockets.push(socket)
  await once(socket, "connect")
  return socket
}

/** Everything received until the server closes the connection. */
export function readToEnd(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = ""
    socket.on("data", (chunk) => {
      text += chunk
    })
    socket.on("close", () => resolve(text))
  })
}

export const HEAD = "POST /callbacks/100 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
export const works = async () => expect((await app.post("/callbacks/100", uploaded())).status).toBe(202)
