/** The memory that a connection's socket reads into (`onread.buffer` of `net.connect`). */

/** As much as a fast network has ready at once. Each connection has one buffer. */
export const READ_BUFFER_SIZE = 512 * 1024
/** The largest TLS record (RFC 8446, section 5.1). A TLS socket delivers one at a time. */
const RECORD_SIZE = 16 * 1024

/**
 * When a TLS socket is told to stop reading, it still delivers records that it has already received. So its next read must not
 * overwrite bytes in use. Reads go one behind the other, and to the other half once everything handed out before has been
 * released.
 */
export class TlsReadBuffer {
  #halves = [Buffer.allocUnsafeSlow(READ_BUFFER_SIZE / 2), Buffer.allocUnsafeSlow(READ_BUFFER_SIZE / 2)]
  #room: Uint8Array = this.#halves[0]!
  #released = false

  /** Where the next read goes. The socket asks after every read, whose size `taken` receives. */
  readonly next = (): Uint8Array => this.#room

  /** Records that `size` bytes were read to the beginning of the room. */
  taken(size: number): void {
    if (this.#released) {
      // The bytes just read are the only ones in use, and they are in this half.
      this.#halves.reverse()
      this.#room = this.#halves[0]!
      this.#released = false
      return
    }
    this.#room = this.#room.subarray(size)
    // What a socket delivers at once takes less than a quarter of this. The branch is for the case that never comes.
    if (this.#room.length < RECORD_SIZE) {
      this.#halves[0] = Buffer.allocUnsafeSlow(READ_BUFFER_SIZE / 2)
      this.#room = this.#halves[0]
    }
  }

  /** Declares that nothing read before is in use any more. */
  release(): void {
    this.#released = true
  }
}
