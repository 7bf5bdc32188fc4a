/** Node's own client. */
import { once } from "node:events"
import * as http from "node:http"
import * as https from "node:https"
import { finished } from "node:stream/promises"
import { Arrival, checkPut, IDLE_TIMEOUT_MS, type OpenHttpClient, rangeOf } from "./client.ts"

export const open: OpenHttpClient = ({ origin, ca, connections }) => {
  const { Agent, request } = origin.protocol === "https:" ? https : http
  const agent = new Agent({ keepAlive: true, maxSockets: connections, ...(ca && { ca }) })
  /** Calls `onPiece` with each piece of the response's body. Resolves to its status. */
  async function send(
    options: { method: string; target: string; headers: Readonly<Record<string, string>> },
    onPiece: (piece: Uint8Array) => void,
    body?: Uint8Array,
  ): Promise<number> {
    const { method, target, headers } = options
    const sent = request(new URL(target, origin), { method, headers, agent, timeout: IDLE_TIMEOUT_MS })
    sent.once("timeout", () => sent.destroy(new Error(`${method} is silent`)))
    sent.end(body)
    const [answer] = (await once(sent, "response")) as [http.IncomingMessage]
    // Events cost less than iterating.
    answer.on("data", onPiece)
    await finished(answer)
    return answer.statusCode!
  }
  return {
    async get(target, start, into) {
      const arrival = new Arrival(into)
      const headers = { range: rangeOf(start, into) }
      arrival.end(await send({ method: "GET", target, headers }, (piece) => arrival.add(piece)))
    },
    async put(target, bytes) {
      const headers = { "content-length": String(bytes.length) }
      checkPut(await send({ method: "PUT", target, headers }, () => {}, bytes))
    },
    async close() {
      agent.destroy()
    },
  }
}
