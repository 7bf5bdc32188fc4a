/** What the chapter on HTTP clients asks of each of them. */
export interface HttpClient {
  /** GET of the bytes of `target` from `start` on, as many as `into` holds. Rejects unless the answer is a 206 of exactly these. */
  get(target: string, start: number, into: Uint8Array): Promise<void>
  /** PUT of `body`, with its Content-Length. Rejects unless the answer is a 200. */
  put(target: string, body: Uint8Array): Promise<void>
  close(): Promise<void>
}

export interface HttpClientOptions {
  readonly origin: URL
  /** The certificate (PEM) to trust, if the origin is https. */
  readonly ca: string | undefined
  /** Requests at once, each over a connection of its own. */
  readonly connections: number
}

export type OpenHttpClient = (options: HttpClientOptions) => HttpClient

/** Nothing on loopback is silent for so long unless it is broken. */
export const IDLE_TIMEOUT_MS = 30_000

export const rangeOf = (start: number, into: Uint8Array): string =>
  `bytes=${start}-${start + into.length - 1}`

/** Puts the pieces of an answer where they belong; the same copy for every client. */
export class Arrival {
  readonly #into: Uint8Array
  #size = 0

  constructor(into: Uint8Array) {
    this.#into = into
  }

  add(piece: Uint8Array): void {
    // What is too much is only counted.
    if (this.#size + piece.length <= this.#into.length) this.#into.set(piece, this.#size)
    this.#size += piece.length
  }

  /** Throws unless the answer, of `status`, was the one asked for. */
  end(status: number): void {
    if (status !== 206) throw new Error(`GET was answered ${status} instead of 206`)
    if (this.#size !== this.#into.length)
      throw new Error(`GET gave ${this.#size} bytes instead of ${this.#into.length}`)
  }
}

export function checkPut(status: number): void {
  if (status !== 200) throw new Error(`PUT was answered ${status} instead of 200`)
}
