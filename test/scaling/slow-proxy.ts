/** An HTTP proxy in front of a store that is fast: each request takes as long as one to a store over a network with much to do. */
import { Agent, createServer, request as forward } from "node:http"
import type { AddressInfo } from "node:net"

/** Delays every request by `delayMs`. Resolves to its URL, for `HTTP_PROXY`. */
export async function startSlowProxy(delayMs: number): Promise<{ url: string; close(): Promise<void> }> {
  const agent = new Agent({ keepAlive: true })
  const server = createServer((incoming, response) => {
    setTimeout(() => {
      const { method, headers, url } = incoming
      const passed = forward(url!, { method: method!, headers, agent }, (answer) => {
        response.writeHead(answer.statusCode!, answer.rawHeaders)
        answer.pipe(response)
      })
      passed.on("error", () => response.destroy())
      response.on("close", () => passed.destroy())
      incoming.pipe(passed)
    }, delayMs)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        agent.destroy()
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
