/**
 * One connection to a store, for one exchange after the other.
 *
 * Node's own HTTP client copies every piece of a body. undici reads each piece into new memory, and copies it for its parser.
 * Here a socket reads into one buffer that is reused (`onread` of `net.connect`). A piece is the consumer's only until it
 * requests the next one, and the socket does not read meanwhile. `npm run bench -- --chapter clients` prints the gain. (A TLS
 * socket does not stop at once, see read-buffer.ts.)
 */
import { connect, isIP, type Socket } from "node:net"
import { type ConnectionOptions, connect as connectTls } from "node:tls"
import type { Origin } from "./origin.ts"
import { createPace, graceMs, type Pace, SilentError, TooSlowError } from "./pace.ts"
import { READ_BUFFER_SIZE, TlsReadBuffer } from "./read-buffer.ts"
import { headOf, type OutgoingRequest, sendRequest } from "./request.ts"
import { type ResponseHead, ResponseParser } from "./response.ts"

/**
 * Shorter than the 60 s after which proxies and load balancers usually forget an idle connection. An earlier close by the store
 * is noticed, because a connection in reserve keeps reading. An archive 6 s after another takes 0.94 of its time over new
 * connections; TLS saves more.
 */
const UNUSED_LIMIT_MS = 30_000
/** Makes the system notice a peer that vanished silently, even while nobody wants its bytes. */
const KEEP_ALIVE_MS = 15_000
export interface ConnectionLimits {
  readonly connectTimeoutMs: number
  /** How long nothing may move while the store should send or take bytes. For a store that drips see pace.ts. */
  readonly idleTimeoutMs: number
  /** The least average speed once the allowance of pace.ts is used up. Default `FLOOR_BYTES_PER_SECOND`. */
  readonly floorBytesPerSecond?: number
}

/** How to reach the store if the direct way is not used. */
export interface Route {
  /** A proxy's tunnel to the origin. It costs one more copy of each piece. */
  readonly tunnel?: Socket
  /** The certificates (PEM) to verify the store with, instead of the system's. */
  readonly ca?: string | undefined
}

export interface ConnectionEvents {
  /** Called when an exchange is over and another may begin, and when the connection has ended for whatever reason. */
  usable(connection: Connection): void
  closed(connection: Connection): void
}

export interface IncomingResponse extends ResponseHead {
  /** Pieces, each valid until the next is requested. `return` before the end closes the connection. */
  readonly body: AsyncIterableIterator<Uint8Array>
}

/** The connection ended before its answer did. */
export class ConnectionError extends Error {
  override readonly name: string = "ConnectionError"
}

/**
 * `connecting` · `idle`: in reserve · `wanting`: the store should send or take bytes, and its time runs · `held`: a piece is in
 * use, so the socket does not read and nothing can move · `dead`. Only `#enter` sets timers.
 */
type State = "connecting" | "idle" | "wanting" | "held" | "dead"

interface Exchange {
  readonly parser: ResponseParser
  readonly pace: Pace
  /** Views of the read buffer that have not been taken yet. */
  readonly pieces: Uint8Array[]
  /** Wakes the reader that waits for the head or for the next piece. */
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
    // `onread` does not work for a socket on top of another.
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
      .on("timeout", () => this.#fail(new SilentError(limits.idleTimeoutMs)))
      .on("error", (error) => this.#fail(error))
      .on("end", () => this.#onEnd())
      .on("close", () => this.#onEnd())
      .once("close", () => clearTimeout(connecting))
  }

  /** Whether another exchange may begin. */
  get usable(): boolean {
    return this.#state !== "dead" && this.#exchange === undefined
  }

  /** Sends `request`. Resolves with the head of its answer. Rejects with what ended the connection, or `signal.reason`. */
  async exchange(request: OutgoingRequest, signal?: AbortSignal): Promise<IncomingResponse> {
    signal?.throwIfAborted()
    const giveUp = () => this.#fail(signal!.reason)
    signal?.addEventListener("abort", giveUp, { once: true })
    const exchange: Exchange = {
      parser: new ResponseParser(request.method),
      pace: this.#paceOf(request),
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

  /** Ends the connection, and any exchange in progress. */
  close(): void {
    this.#fail(new ConnectionError("the connection was closed"))
  }

  #paceOf({ mayPause }: OutgoingRequest): Pace {
    const { idleTimeoutMs, floorBytesPerSecond } = this.#limits
    const windowMs = mayPause ? undefined : idleTimeoutMs
    return createPace(graceMs(idleTimeoutMs), floorBytesPerSecond, undefined, windowMs)
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
    // A connection in reserve keeps reading, to learn that the store has closed it.
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

  /** Waits for more of the answer. Views handed out so far become invalid. */
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
      const hadHead = exchange.parser.head !== undefined
      let ofBody = 0
      const taken = exchange.parser.push(bytes, (piece) => {
        ofBody += piece.length
        exchange.pieces.push(piece)
      })
      const stage = hadHead || ofBody > 0 ? "body" : "head"
      // What comes during the request is an interim answer. The request has a window of its own.
      const isInterim = stage === "head" && this.#unsent > 0
      if (!isInterim && !exchange.pace.moved(ofBody, stage))
        throw new TooSlowError(this.#limits.floorBytesPerSecond)
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
