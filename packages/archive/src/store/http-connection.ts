/**
 * One connection to a store, for one exchange after the other.
 *
 * Node's own HTTP client copies every piece of a body into memory of its own, which costs as much as decrypting it. Here a
 * socket reads into one buffer that is used again and again (`onread` of `net.connect`), and a piece is the consumer's only
 * until it asks for the next one; meanwhile the socket does not read. `npm run bench` prints what that is worth. (A TLS
 * socket does not stop at once, see read-buffer.ts.)
 */
import { connect, isIP, type Socket } from "node:net"
import { type ConnectionOptions, connect as connectTls } from "node:tls"
import { type ResponseHead, ResponseParser } from "./http-response.ts"
import { READ_BUFFER_SIZE, TlsReadBuffer } from "./read-buffer.ts"

/**
 * Shorter than the 60 s after which proxies and load balancers usually forget a connection that nobody uses. A store that closes
 * it earlier is noticed, since a connection in reserve reads on. An archive that comes 6 s after another takes 0.94 of the time
 * that it takes over new connections, more over TLS.
 */
const UNUSED_LIMIT_MS = 30_000
/** Of a body over TLS. */
const SLICE_SIZE = 64 * 1024

export interface Origin {
  readonly secure: boolean
  readonly host: string
  readonly port: number
}

export interface ConnectionLimits {
  readonly connectTimeoutMs: number
  /** How long nothing may move in either direction while an exchange is under way. */
  readonly idleTimeoutMs: number
}

export interface OutgoingRequest {
  readonly method: string
  /** Path and query, as they go on the wire. */
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  /** Sent as it is, from the caller's memory. */
  readonly body: readonly Uint8Array[]
}

export interface IncomingResponse extends ResponseHead {
  /** Pieces, each valid until the next is asked for. `return` before the end closes the connection. */
  readonly body: AsyncIterableIterator<Uint8Array>
}

/** Why a connection ended before its answer did. */
export class ConnectionError extends Error {
  override readonly name: string = "ConnectionError"
}

interface Exchange {
  readonly parser: ResponseParser
  /** Views of the read buffer, until they are taken. */
  readonly pieces: Uint8Array[]
  /** Wakes whoever waits for the head or for the next piece. */
  wake: (() => void) | undefined
  release(): void
}

export class Connection {
  readonly #socket: Socket
  readonly #limits: ConnectionLimits
  readonly #onUsable: (connection: Connection) => void
  #exchange: Exchange | undefined
  #failure: unknown
  /** The socket does not read, since a view of its buffer is in use. */
  #paused = false
  #unsent = 0
  readonly #tlsBuffer: TlsReadBuffer | undefined

  /** Connects in the background. `onUsable` is called whenever an exchange is over and another may begin. */
  constructor(origin: Origin, limits: ConnectionLimits, onUsable: (connection: Connection) => void) {
    this.#limits = limits
    this.#onUsable = onUsable
    const { host, port } = origin
    this.#tlsBuffer = origin.secure ? new TlsReadBuffer() : undefined
    const onread = {
      buffer: this.#tlsBuffer?.next ?? Buffer.allocUnsafeSlow(READ_BUFFER_SIZE),
      callback: (size: number, buffer: Uint8Array) => this.#onRead(buffer.subarray(0, size)),
    }
    const servername = isIP(host) === 0 ? { servername: host } : {}
    const options = { host, port, onread, noDelay: true }
    const secureOptions: ConnectionOptions = { ...options, ALPNProtocols: ["http/1.1"], ...servername }
    this.#socket = origin.secure ? connectTls(secureOptions) : connect(options)
    const late = () => this.#fail(new ConnectionError(`no connection within ${limits.connectTimeoutMs} ms`))
    const connecting = setTimeout(late, limits.connectTimeoutMs)
    this.#socket
      .once(origin.secure ? "secureConnect" : "connect", () => {
        clearTimeout(connecting)
        this.#socket.setTimeout(limits.idleTimeoutMs)
      })
      .on("timeout", () => this.#onTimeout())
      .on("error", (error) => this.#fail(error))
      .on("end", () => this.#onEnd())
      .on("close", () => {
        clearTimeout(connecting)
        this.#onEnd()
      })
  }

  /** Whether another exchange may begin. */
  get usable(): boolean {
    return this.#failure === undefined && this.#exchange === undefined
  }

  /** Sends `request` and resolves when the head of its answer is there. Rejects with what ended the connection, or `signal.reason`. */
  async exchange(request: OutgoingRequest, signal?: AbortSignal): Promise<IncomingResponse> {
    signal?.throwIfAborted()
    const giveUp = () => this.#fail(signal!.reason)
    signal?.addEventListener("abort", giveUp, { once: true })
    const exchange: Exchange = {
      parser: new ResponseParser(request.method),
      pieces: [],
      wake: undefined,
      release: () => signal?.removeEventListener("abort", giveUp),
    }
    this.#exchange = exchange
    this.#socket.ref()
    this.#socket.setTimeout(this.#socket.connecting ? 0 : this.#limits.idleTimeoutMs)
    this.#send(request)
    while (exchange.parser.head === undefined) await this.#more(exchange)
    if (exchange.parser.done && exchange.pieces.length === 0) this.#finish(exchange)
    return { ...exchange.parser.head, body: this.#bodyOf(exchange) }
  }

  /** Ends the connection, and the exchange that may be under way. */
  close(): void {
    this.#fail(new ConnectionError("the connection was closed"))
  }

  #send({ method, target, headers, body }: OutgoingRequest): void {
    const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    const head = `${method} ${target} HTTP/1.1\r\n${fields.join("")}\r\n`
    if (/[\r\n]/.test(`${method}${target}`) || fields.some((field) => /[\r\n]/.test(field.slice(0, -2)))) {
      this.#fail(new ConnectionError("the request has a line break in its head"))
      return
    }
    this.#unsent++
    if (this.#tlsBuffer) void this.#sendSlices([Buffer.from(head, "latin1"), ...body])
    else {
      // Corked, so that head and body leave together.
      this.#socket.cork()
      this.#socket.write(head, "latin1")
      for (const chunk of body) this.#socket.write(chunk)
      this.#socket.write("", () => this.#unsent--)
      this.#socket.uncork()
    }
  }

  /**
   * A TLS socket encrypts whatever it is given at once, into memory of its own: a part that is given to it whole is there twice.
   * So it gets the next slice when the last one has left: 76 MiB less for a worker, for a tenth more CPU
   * (`npm run bench -- --chapter tls`).
   */
  async #sendSlices(pieces: readonly Uint8Array[]): Promise<void> {
    for (const piece of pieces)
      for (let start = 0; start < piece.length; start += SLICE_SIZE) {
        if (this.#failure !== undefined) return
        const slice = piece.subarray(start, start + SLICE_SIZE)
        await new Promise<void>((resolve) => this.#socket.write(slice, () => resolve()))
      }
    this.#unsent--
  }

  #bodyOf(exchange: Exchange): AsyncIterableIterator<Uint8Array> {
    const end = { done: true, value: undefined } as const
    const body: AsyncIterableIterator<Uint8Array> = {
      [Symbol.asyncIterator]: () => body,
      next: async () => {
        for (;;) {
          const piece = exchange.pieces.shift()
          if (piece !== undefined) return { done: false, value: piece }
          if (exchange.parser.done) {
            this.#finish(exchange)
            return end
          }
          await this.#more(exchange)
        }
      },
      return: async () => {
        this.#finish(exchange)
        return end
      },
    }
    return body
  }

  /** Waits until there is more of the answer; the views given out so far are void from here on. */
  async #more(exchange: Exchange): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    const woken = new Promise<void>((resolve) => {
      exchange.wake = resolve
    })
    this.#paused = false
    this.#tlsBuffer?.release()
    this.#socket.resume()
    await woken
    const { parser, pieces } = exchange
    if (this.#failure !== undefined && !parser.done && pieces.length === 0) throw this.#failure
  }

  /** The answer has been read, or nobody wants the rest of it. */
  #finish(exchange: Exchange): void {
    if (this.#exchange !== exchange) return
    exchange.release()
    this.#exchange = undefined
    const { head, done } = exchange.parser
    if (!done || exchange.pieces.length > 0 || !head?.persistent || this.#unsent > 0) this.close()
    if (this.#failure !== undefined) return
    this.#socket.setTimeout(UNUSED_LIMIT_MS)
    // A connection in reserve keeps no process alive; it reads on, to learn that the store has closed it.
    this.#socket.unref()
    this.#paused = false
    this.#socket.resume()
    this.#onUsable(this)
  }

  #onRead(bytes: Uint8Array): boolean {
    this.#tlsBuffer?.taken(bytes.length)
    const exchange = this.#exchange
    if (exchange === undefined) {
      this.#fail(new ConnectionError("the store sent what nobody asked for"))
      return false
    }
    try {
      const taken = exchange.parser.push(bytes, (piece) => exchange.pieces.push(piece))
      if (taken < bytes.length) throw new ConnectionError("the store sent more than its answer")
    } catch (error) {
      this.#fail(error)
      return false
    }
    this.#paused = exchange.pieces.length > 0
    this.#wake()
    return !this.#paused
  }

  #onTimeout(): void {
    // Nothing can move while the consumer holds a piece, and that is no fault of the store.
    if (this.#exchange !== undefined && this.#paused) return
    this.#fail(new ConnectionError(`nothing moved for ${this.#limits.idleTimeoutMs} ms`))
  }

  #onEnd(): void {
    const exchange = this.#exchange
    if (exchange?.parser.close()) this.#wake()
    this.#fail(new ConnectionError("the connection was closed before the answer was whole"))
  }

  #fail(failure: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure = failure ?? new ConnectionError("aborted")
    this.#exchange?.release()
    this.#socket.destroy()
    this.#wake()
  }

  #wake(): void {
    const wake = this.#exchange?.wake
    if (this.#exchange !== undefined) this.#exchange.wake = undefined
    wake?.()
  }
}
