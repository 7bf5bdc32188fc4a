/** Writes HTTP/1.1 requests (RFC 9112) to a socket, straight from the memory of their bodies. */
import type { Socket } from "node:net"
import { type Pace, TooSlowError } from "./pace.ts"

/** How many bytes are sent at a time. They must leave before the next ones are sent. */
const SLICE_SIZE = { plain: 512 * 1024, tls: 64 * 1024 }

export interface OutgoingRequest {
  readonly method: string
  /** Path and query, as sent. */
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  /** Sent from the caller's memory without a copy. */
  readonly body: readonly Uint8Array[]
  /** Called with the number of bytes of each piece of the body that has left. */
  readonly onSent?: ((bytes: number) => void) | undefined
  /** Whether the store may take minutes and send a blank now and then: while it assembles an object. */
  readonly mayPause?: boolean
}

/** The head as sent; `null` if it contains a line break, which would start another request. */
export function headOf({ method, target, headers }: OutgoingRequest): Buffer | null {
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  if (/[\r\n]/.test(`${method}${target}`) || fields.some((field) => /[\r\n]/.test(field.slice(0, -2))))
    return null
  return Buffer.from(`${method} ${target} HTTP/1.1\r\n${fields.join("")}\r\n`, "latin1")
}

/** The connection that a request goes out on. */
export interface Outlet {
  readonly socket: Socket
  readonly isSecure: boolean
  readonly pace: Pace
  readonly floorBytesPerSecond: number | undefined
  /** Whether the connection has ended, so that nothing more is sent. */
  isOver(): boolean
  /** Called when a slice takes longer to leave than its peer may take. */
  tooSlow(error: TooSlowError): void
}

/**
 * Sends `head` and the body. Resolves to `false` if the connection ended first. Each slice waits until the previous one has
 * left, because a TLS socket encrypts everything it gets at once, into memory of its own: a part handed over whole would be
 * in memory twice. Small slices save a worker 76 MiB for a tenth more CPU (`npm run bench -- --chapter tls`).
 */
export async function sendRequest(
  head: Uint8Array,
  { body, onSent }: OutgoingRequest,
  { socket, isSecure, pace, floorBytesPerSecond, isOver, tooSlow }: Outlet,
): Promise<boolean> {
  const size = isSecure ? SLICE_SIZE.tls : SLICE_SIZE.plain
  // Corked, so that the head and the first slice leave together.
  socket.cork()
  process.nextTick(() => socket.uncork())
  socket.write(head)
  /** Bytes of the slice in hand that the pace does not know of yet. */
  let inHand = 0
  /** `null` once everything was sent. */
  let late: NodeJS.Timeout | null | undefined
  const moved = (bytes: number): boolean => {
    inHand -= bytes
    const isFast = pace.moved(bytes, "request") && pace.leftMs(inHand) > 0
    if (!isFast) tooSlow(new TooSlowError(floorBytesPerSecond))
    return isFast
  }
  // The socket reports nothing while a slice leaves byte by byte. One timer looks at the pace again and again: a timer for each
  // slice costs a tenth of what it takes to send over TLS.
  const watch = () => {
    // If the process stood still, the system has taken bytes meanwhile, and the socket learns of them first.
    late = setTimeout(() => setImmediate(look), Math.min(pace.leftMs(inHand), pace.windowLeftMs("request")))
  }
  const look = () => {
    if (late !== null && moved(isSecure ? 0 : Math.max(0, inHand - waitingIn(socket)))) watch()
  }
  try {
    for (const piece of body)
      for (let start = 0; start < piece.length; start += size) {
        if (isOver()) return false
        const slice = piece.subarray(start, start + size)
        inHand = slice.length
        if (late === undefined) watch()
        await new Promise<void>((resolve) => socket.write(slice, () => resolve()))
        onSent?.(slice.length)
        if (!moved(inHand)) return false
      }
    return true
  } finally {
    clearTimeout(late ?? undefined)
    late = null
  }
}

/**
 * Bytes that the system has not taken yet. Node keeps this for its own timeouts, and has no public name for it. A TLS socket's slices
 * are so small that it isn't needed.
 */
function waitingIn(socket: Socket): number {
  const { connecting, _handle } = socket as Socket & { _handle?: { readonly writeQueueSize?: number } | null }
  return (connecting ? undefined : _handle?.writeQueueSize) ?? Number.POSITIVE_INFINITY
}
