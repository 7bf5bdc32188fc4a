/** A proxy between a store's SDK and its server. It can do to an exchange what a network or a server can do. */
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type ServerResponse,
} from "node:http"
import type { AddressInfo } from "node:net"

export interface Exchange {
  readonly method: string
  /** Includes the query. */
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** Sends the request on, optionally with another body, and returns the whole answer. */
  forward(body?: Buffer): Promise<ProxiedResponse>
  /** Answers the client. Announces `declared` bytes if given; if there are fewer, the connection is reset after them. */
  respond(response: ProxiedResponse, declared?: number): void
  /** Cuts the connection without an answer. */
  cut(): void
}

export interface ProxiedResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

export interface FaultyProxy {
  /** `http://127.0.0.1:port` */
  readonly url: string
  /** Handles each exchange from now on, until `honest()`. An exchange that is neither answered nor cut hangs. */
  fault(fault: (exchange: Exchange) => Promise<void> | void): void
  honest(): void
  close(): Promise<void>
}

const passOn = async (exchange: Exchange): Promise<void> => exchange.respond(await exchange.forward())

/** A proxy to `target`, honest until told otherwise. */
export async function startFaultyProxy(target: string): Promise<FaultyProxy> {
  let fault: (exchange: Exchange) => Promise<void> | void = passOn
  const server = createServer((incoming, outgoing) => {
    wholeOf(incoming)
      .then((body) => fault(exchangeOf(target, incoming, body, outgoing)))
      .catch(() => outgoing.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    fault(next) {
      fault = next
    },
    honest() {
      fault = passOn
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function wholeOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of message) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function exchangeOf(
  target: string,
  incoming: IncomingMessage,
  body: Buffer,
  outgoing: ServerResponse,
): Exchange {
  const { method = "", url = "", headers } = incoming
  return {
    method,
    url,
    headers,
    body,
    forward: (sent = body) =>
      new Promise((resolve, reject) => {
        const onward = request(new URL(url, target), { method, headers }, (response) => {
          wholeOf(response).then(
            (answer) =>
              resolve({ status: response.statusCode ?? 0, headers: response.headers, body: answer }),
            reject,
          )
        })
        onward.once("error", reject)
        onward.end(sent)
      }),
    respond({ status, headers, body }, declared) {
      const { "transfer-encoding": _, ...kept } = headers
      const head = method === "HEAD"
      outgoing.writeHead(status, head ? kept : { ...kept, "content-length": declared ?? body.length })
      outgoing.write(body, () => (declared === undefined || head ? outgoing.end() : outgoing.destroy()))
    },
    cut: () => outgoing.destroy(),
  }
}
