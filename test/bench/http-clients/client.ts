/** The interface that the chapter on HTTP clients gives each of them. */
export interface HttpClient {
  /** GETs the bytes of `target` from `start` on, as many as `into` holds. Rejects unless the response is a 206 with exactly these. */
  get(target: string, start: number, into: Uint8Array): Promise<void>
  /** PUTs `body` with its Content-Length. Rejects unless the response is a 200. */
  put(target: string, body: Uint8Array): Promise<void>
  close(): Promise<void>
}

export interface HttpClientOptions {
  readonly origin: URL
  /** The certificate (PEM) to trust, if the origin is https. */
  readonly ca: string | undefined
  /** How many requests run at once, each over its own connection. */
  readonly connections: number
}

export type OpenHttpClient = (options: HttpClientOptions) => HttpClient

/** On loopback, a longer silence means that something is broken. */
export const IDLE_TIMEOUT_MS = 30_000

export const rangeOf = (start: number, into: Uint8Array): string =>
  `bytes=${start}-${start + into.length - 1}`

/** Copies the pieces of a response into place. Every client uses it. */
export class Arrival {
  readonly #into: Uint8Array
  #size = 0

  constructor(into: Uint8Array) {
    this.#into = into
  }

  add(piece: Uint8Array): void {
    // Surplus bytes are only counted.
    if (this.#size + piece.length <= this.#into.length) this.#into.set(piece, this.#size)
    this.#size += piece.length
  }

  /** Throws unless the response, with its `status`, is the requested one. */
  end(status: number): void {
    if (status !== 206) throw new Error(`GET was answered ${status} instead of 206`)
    if (this.#size !== this.#into.length)
      throw new Error(`GET gave ${this.#size} bytes instead of ${this.#into.length}`)
  }
}

export function checkPut(status: number): void {
  if (status !== 200) throw new Error(`PUT was answered ${status} instead of 200`)
}
