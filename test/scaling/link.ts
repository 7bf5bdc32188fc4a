/** The network of one worker: an HTTP proxy that limits the bytes per second, each way. */
import { Agent, createServer, request as forward } from "node:http"
import type { AddressInfo } from "node:net"
import { Transform } from "node:stream"
import { setTimeout as sleep } from "node:timers/promises"

export interface Link {
  /** For `HTTP_PROXY`. */
  readonly url: string
  close(): Promise<void>
}

/** Small enough that several transfers share the link evenly. */
const PIECE_BYTES = 16_384

/** All requests through the link share its rate. */
export async function startLink(bytesPerSecond: number): Promise<Link> {
  const agent = new Agent({ keepAlive: true })
  const [up, down] = [createPace(bytesPerSecond), createPace(bytesPerSecond)]
  const server = createServer((incoming, response) => {
    const { method, headers, url } = incoming
    const passed = forward(url!, { method: method!, headers, agent }, (answer) => {
      response.writeHead(answer.statusCode!, answer.rawHeaders)
      answer.pipe(through(down)).pipe(response)
    })
    passed.on("error", () => response.destroy())
    response.on("close", () => passed.destroy())
    incoming.pipe(through(up)).pipe(passed)
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

type Pace = (bytes: number) => Promise<void>

/** Resolves once the bytes have had their time on the line, in the order of the calls. */
function createPace(bytesPerSecond: number): Pace {
  let freeAt = 0
  return async (bytes) => {
    freeAt = Math.max(freeAt, performance.now()) + (bytes / bytesPerSecond) * 1_000
    await sleep(Math.max(0, freeAt - performance.now()))
  }
}

const through = (pace: Pace): Transform =>
  new Transform({
    transform(chunk: Buffer, _, done) {
      const passAll = async () => {
        for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
          const piece = chunk.subarray(at, at + PIECE_BYTES)
          await pace(piece.length)
          this.push(piece)
        }
      }
      passAll().then(() => done(), done)
    },
  })
