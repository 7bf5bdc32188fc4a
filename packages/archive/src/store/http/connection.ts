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
import type { Origin } from "./origin.ts"
import { createPace, graceMs, type Pace, TooSlowError } from "./pace.ts"
import { READ_BUFFER_SIZE, TlsReadBuffer } from "./read-buffer.ts"
import { headOf, type OutgoingRequest, sendRequest } from "./request.ts"
import { type ResponseHead, ResponseParser } from "./response.ts"

/**
 * Shorter than the 60 s after which proxies and load balancers usually forget a connection that nobody uses. A store that closes
 * it earlier is noticed, since a connection in reserve reads on. An archive that comes 6 s after another takes 0.94 of the time
 * that it takes over new connections, more over TLS.
 */
const UNUSED_LIMIT_MS = 30_000
/** A peer that has vanished without a word is noticed by the system, too, while nobody wants its bytes. */
const KEEP_ALIVE_MS = 15_000
export interface ConnectionLimits {
  readonly connectTimeoutMs: number
  /** How long nothing may move while bytes are wanted of the store or sent to it; see pace.ts for a store that drips. */
  readonly idleTimeoutMs: number
  /** What moves at least, on average, once the allowance of pace.ts is used up; `FLOOR_BYTES_PER_SECOND` if left out. */
  readonly floorBytesPerSecond?: number
}

/** How to get there, where that is not the straight way. */
export interface Route {
  /** A proxy's tunnel to the origin. Its pieces are copied once more on their way. */
  readonly tunnel?: Socket
  /** The certificates (PEM) by which the store is known, instead of the system's. */
  readonly ca?: string | undefined
}

export interface ConnectionEvents {
  /** An exchange is over, and another may begin; or the connection has ended, whatever ended it. */
  usable(connection: Connection): void
  closed(connection: Connection): void
}

export interface IncomingResponse extends ResponseHead {
  /** Pieces, each valid until the next is asked for. `return` before the end closes the connection. */
  readonly body: AsyncIterableIterator<Uint8Array>
}

/** Why a connection ended before its answer did. */
export class ConnectionError extends Error {
  override readonly name: string = "ConnectionError"
}

/**
 * `connecting` · `idle`, in reserve · `wanting`: bytes are wanted of the store, and its time runs · `held`: a piece is in use, so
 * that the socket does not read and nothing can move · `dead`. Timers are set by `#enter` alone.
 */
type State = "connecting" | "idle" | "wanting" | "held" | "dead"

interface Exchange {
  readonly parser: ResponseParser
  readonly pace: Pace
  /** Views of the read buffer, until they are taken. */
  readonly pieces: Uint8Array[]
  /** Wakes whoever waits for the head or for the next piece. */
  wake: (() => void) | undefined
  release(): void
}

export class Connection {
  readonly #socket: Socket
  readonly #limits: ConnectionLimits
  readonly #events: ConnectionEvents
  #state: State = "connecting"
  #exchange: Exchange | undefined
  #failure: unknown
  #unsent = 0
  readonly #isSecure: boolean
  readonly #tlsBuffer: TlsReadBuffer | undefined

  /** Connects in the background. */
  constructor(
    origin: Origin,
    limits: ConnectionLimits,
    events: ConnectionEvents,
    { tunnel, ca }: Route = {},
  ) {
    this.#limits = limits
    this.#events = events
    const { host, port } = origin
    this.#isSecure = origin.secure
    this.#tlsBuffer = origin.secure && !tunnel ? new TlsReadBuffer() : undefined
    const onread = {
      buffer: this.#tlsBuffer?.next ?? Buffer.allocUnsafeSlow(READ_BUFFER_SIZE),
      callback: (size: number, buffer: Uint8Array) => this.#onRead(buffer.subarray(0, size)),
    }
    const servername = isIP(host) === 0 ? { servername: host } : {}
    const options = { host, port, noDelay: true, ...(tunnel ? { socket: tunnel } : { onread }) }
    const protocols = { ALPNProtocols: ["http/1.1"] }
    const secureOptions: ConnectionOptions = { ...options, ...protocols, ...servername, ...(ca && { ca }) }
    this.#socket = origin.secure ? connectTls(secureOptions) : connect(options)
    // `onread` is not for a socket over another.
    if (tunnel) this.#socket.on("data", (bytes: Buffer) => this.#onRead(bytes) || this.#socket.pause())
    const late = () =>
      this.#fail(new ConnectionError(`no connection within ${limits.connectTimeoutMs / 1000} s`))
    const connecting = setTimeout(late, limits.connectTimeoutMs)
    this.#socket
      .setKeepAlive(true, KEEP_ALIVE_MS)
      .once(origin.secure ? "secureConnect" : "connect", () => {
        clearTimeout(connecting)
        this.#enter(this.#exchange === undefined ? "idle" : "wanting")
      })
      .on("timeout", () =>
        this.#fail(new ConnectionError(`nothing moved for ${limits.idleTimeoutMs / 1000} s`)),
      )
      .on("error", (error) => this.#fail(error))
      .on("end", () => this.#onEnd())
      .on("close", () => this.#onEnd())
      .once("close", () => clearTimeout(connecting))
  }

  /** Whether another exchange may begin. */
  get usable(): boolean {
    return this.#state !== "dead" && this.#exchange === undefined
  }

  /** Sends `request` and resolves when the head of its answer is there. Rejects with what ended the connection, or `signal.reason`. */
  async exchange(request: OutgoingRequest, signal?: AbortSignal): Promise<IncomingResponse> {
    signal?.throwIfAborted()
    const giveUp = () => this.#fail(signal!.reason)
    signal?.addEventListener("abort", giveUp, { once: true })
    const exchange: Exchange = {
      parser: new ResponseParser(request.method),
      pace: createPace(graceMs(this.#limits.idleTimeoutMs), this.#limits.floorBytesPerSecond),
      pieces: [],
      wake: undefined,
      release: () => signal?.removeEventListener("abort", giveUp),
    }
    this.#exchange = exchange
    this.#socket.ref()
    if (this.#state !== "connecting") this.#enter("wanting")
    this.#send(request, exchange)
    while (exchange.parser.head === undefined) await this.#more(exchange)
    if (exchange.parser.done && exchange.pieces.length === 0) this.#finish(exchange)
    return { ...exchange.parser.head, body: this.#bodyOf(exchange) }
  }

  /** Ends the connection, and the exchange that may be under way. */
  close(): void {
    this.#fail(new ConnectionError("the connection was closed"))
  }

  #enter(state: Exclude<State, "connecting" | "dead">): void {
    if (this.#state === "dead") return
    this.#state = state
    const pace = this.#exchange?.pace
    if (state === "held") {
      pace?.hold()
      this.#socket.setTimeout(0)
      return
    }
    if (state === "wanting") pace?.run()
    this.#socket.setTimeout(state === "wanting" ? this.#limits.idleTimeoutMs : UNUSED_LIMIT_MS)
    // One in reserve reads on, too, to learn that the store has closed it.
    this.#socket.resume()
  }

  #send(request: OutgoingRequest, exchange: Exchange): void {
    const head = headOf(request)
    if (head === null) {
      this.#fail(new ConnectionError("the request has a line break in its head"))
      return
    }
    this.#unsent++
    const { floorBytesPerSecond } = this.#limits
    const whole = sendRequest(head, request, {
      ...{ socket: this.#socket, isSecure: this.#isSecure, pace: exchange.pace, floorBytesPerSecond },
      isOver: () => this.#state === "dead",
      tooSlow: (error) => this.#fail(error),
    })
    void whole.then((isWhole) => {
      if (isWhole) this.#unsent--
    })
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
    this.#tlsBuffer?.release()
    if (this.#state !== "connecting") this.#enter("wanting")
    await woken
    const { parser, pieces } = exchange
    if (this.#failure !== undefined && !parser.done && pieces.length === 0) throw this.#failure
  }

  /** Nobody wants more of the answer. */
  #finish(exchange: Exchange): void {
    if (this.#exchange !== exchange) return
    exchange.release()
    this.#exchange = undefined
    const { head, done } = exchange.parser
    if (!done || exchange.pieces.length > 0 || !head?.persistent || this.#unsent > 0) this.close()
    if (this.#failure !== undefined) return
    this.#enter("idle")
    // A connection in reserve keeps no process alive.
    this.#socket.unref()
    this.#events.usable(this)
  }

  #onRead(bytes: Uint8Array): boolean {
    this.#tlsBuffer?.taken(bytes.length)
    const exchange = this.#exchange
    if (exchange === undefined) {
      this.#fail(new ConnectionError("the store sent data that nobody asked for"))
      return false
    }
    try {
      let ofBody = 0
      const taken = exchange.parser.push(bytes, (piece) => {
        ofBody += piece.length
        exchange.pieces.push(piece)
      })
      if (!exchange.pace.moved(ofBody)) throw new TooSlowError(this.#limits.floorBytesPerSecond)
      if (taken < bytes.length) throw new ConnectionError("the store sent more than its answer")
    } catch (error) {
      this.#fail(error)
      return false
    }
    const isHeld = exchange.pieces.length > 0
    if (isHeld) this.#enter("held")
    this.#wake()
    return !isHeld
  }

  #onEnd(): void {
    const exchange = this.#exchange
    if (exchange?.parser.close()) this.#wake()
    this.#fail(new ConnectionError("the connection was closed before the answer was whole"))
  }

  #fail(failure: unknown): void {
    if (this.#state === "dead") return
    this.#state = "dead"
    this.#failure = failure ?? new ConnectionError("aborted")
    this.#exchange?.release()
    this.#socket.destroy()
    this.#wake()
    this.#events.closed(this)
  }

  #wake(): void {
    const wake = this.#exchange?.wake
    if (this.#exchange !== undefined) this.#exchange.wake = undefined
    wake?.()
  }
}
