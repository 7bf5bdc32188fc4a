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
  let inHand = 0
  let late: NodeJS.Timeout | undefined
  // The socket reports nothing while a slice leaves byte by byte. One timer looks at the pace again and again: a timer for each
  // slice costs a tenth of what it takes to send over TLS.
  const watch = () => {
    const leftMs = pace.leftMs(inHand)
    if (leftMs > 0) late = setTimeout(watch, leftMs)
    else tooSlow(new TooSlowError(floorBytesPerSecond))
  }
  try {
    for (const piece of body)
      for (let start = 0; start < piece.length; start += size) {
        if (isOver()) return false
        const slice = piece.subarray(start, start + size)
        inHand = slice.length
        if (late === undefined) watch()
        await new Promise<void>((resolve) => socket.write(slice, () => resolve()))
        pace.moved(slice.length)
        onSent?.(slice.length)
      }
    return true
  } finally {
    clearTimeout(late)
  }
}
