/** undici's lowest level: `dispatch`. Its handler gets each piece of a body as the socket read it. */
import { Readable } from "node:stream"
import { type Dispatcher, Pool } from "undici"
import { Arrival, checkPut, IDLE_TIMEOUT_MS, type OpenHttpClient, rangeOf } from "./client.ts"

const KIB = 1024

const openWith =
  (bodyOf: (bytes: Uint8Array, isSecure: boolean) => Uint8Array | Readable): OpenHttpClient =>
  ({ origin, ca, connections }) => {
    const pool = new Pool(origin, {
      connections,
      pipelining: 1,
      allowH2: false,
      headersTimeout: IDLE_TIMEOUT_MS,
      bodyTimeout: IDLE_TIMEOUT_MS,
      connect: { timeout: IDLE_TIMEOUT_MS, ...(ca && { ca }) },
    })
    /** Calls `onPiece` with each piece of the response's body. Resolves to its status. */
    const dispatch = (options: Dispatcher.DispatchOptions, onPiece: (piece: Uint8Array) => void) =>
      new Promise<number>((resolve, reject) => {
        let status = 0
        pool.dispatch(options, {
          onRequestStart() {},
          onResponseStart(_controller, statusCode) {
            status = statusCode
          },
          onResponseData: (_controller, piece) => onPiece(piece),
          onResponseEnd: () => resolve(status),
          onResponseError: (_controller, error) => reject(error),
        })
      })
    return {
      async get(path, start, into) {
        const arrival = new Arrival(into)
        const headers = { range: rangeOf(start, into) }
        arrival.end(await dispatch({ method: "GET", path, headers }, (piece) => arrival.add(piece)))
      },
      async put(path, bytes) {
        const headers = { "content-length": String(bytes.length) }
        const body = bodyOf(bytes, origin.protocol === "https:")
        checkPut(await dispatch({ method: "PUT", path, headers, body }, () => {}))
      },
      close: () => pool.destroy(),
    }
  }

/** Passes each body to the socket whole. */
export const open = openWith((bytes) => bytes)

/** Passes each body in slices, as our own client does to report progress and to save memory over TLS. */
export const openSliced = openWith((bytes, isSecure) =>
  Readable.from(slicesOf(bytes, isSecure ? 64 * KIB : 512 * KIB), { objectMode: true, highWaterMark: 1 }),
)

function* slicesOf(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size)
}
