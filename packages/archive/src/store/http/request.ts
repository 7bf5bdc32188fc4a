/** HTTP/1.1 requests (RFC 9112) onto a socket, from the memory in which their bodies are. */
import type { Socket } from "node:net"
import { type Pace, TooSlowError } from "./pace.ts"

/** What is sent at a time, in bytes, and has to leave before more is. */
const SLICE_SIZE = { plain: 512 * 1024, tls: 64 * 1024 }

export interface OutgoingRequest {
  readonly method: string
  /** Path and query, as they go on the wire. */
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  /** Sent as it is, from the caller's memory. */
  readonly body: readonly Uint8Array[]
  /** Told of each piece of the body that has left, in bytes. */
  readonly onSent?: ((bytes: number) => void) | undefined
}

/** The head as it goes on the wire; `null` if a line break in it would make another request of it. */
export function headOf({ method, target, headers }: OutgoingRequest): Buffer | null {
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  if (/[\r\n]/.test(`${method}${target}`) || fields.some((field) => /[\r\n]/.test(field.slice(0, -2))))
    return null
  return Buffer.from(`${method} ${target} HTTP/1.1\r\n${fields.join("")}\r\n`, "latin1")
}

/** The way on which a request goes. */
export interface Outlet {
  readonly socket: Socket
  readonly isSecure: boolean
  readonly pace: Pace
  readonly floorBytesPerSecond: number | undefined
  /** Whether the connection has ended: nothing more is sent then. */
  isOver(): boolean
  /** Called when a slice takes longer to leave than its peer may take. */
  tooSlow(error: TooSlowError): void
}

/**
 * Sends `head` and the body; `false` if the connection ended first. The next slice goes when the last one has left. A TLS socket
 * encrypts whatever it is given at once, into memory of its own: a part given to it whole is there twice. Small slices save a
 * worker 76 MiB for a tenth more CPU (`npm run bench -- --chapter tls`).
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
  for (const piece of body)
    for (let start = 0; start < piece.length; start += size) {
      if (isOver()) return false
      const slice = piece.subarray(start, start + size)
      // Of a slice that leaves byte by byte the socket says nothing.
      const late = setTimeout(() => tooSlow(new TooSlowError(floorBytesPerSecond)), pace.leftMs(slice.length))
      await new Promise<void>((resolve) => socket.write(slice, () => resolve()))
      clearTimeout(late)
      pace.moved(slice.length)
      onSent?.(slice.length)
    }
  return true
}
