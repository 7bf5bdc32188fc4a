/** The memory that a connection's socket reads into (`onread.buffer` of `net.connect`). */

/** What a fast network has ready at once; each connection has one buffer. */
export const READ_BUFFER_SIZE = 512 * 1024
/** The most that a TLS record carries (RFC 8446, section 5.1), which is what a TLS socket hands over at a time. */
const RECORD_SIZE = 16 * 1024

/**
 * A TLS socket that is told to stop reading has records in hand that it has decrypted already, or will from what it has
 * read, and hands them over all the same. So its next read may never go where bytes are that somebody still uses: the reads
 * go behind each other, and to the other half once everything given out before has been released.
 */
export class TlsReadBuffer {
  #halves = [Buffer.allocUnsafeSlow(READ_BUFFER_SIZE / 2), Buffer.allocUnsafeSlow(READ_BUFFER_SIZE / 2)]
  #room: Uint8Array = this.#halves[0]!
  #released = false

  /** Where the next read goes. The socket asks after every read, whose size `taken` has been told. */
  readonly next = (): Uint8Array => this.#room

  /** `size` bytes were read to the beginning of the room. */
  taken(size: number): void {
    if (this.#released) {
      // All that is in use is what has just been read, and that is in this half.
      this.#halves.reverse()
      this.#room = this.#halves[0]!
      this.#released = false
      return
    }
    this.#room = this.#room.subarray(size)
    // Never by what a socket has in hand at once, which is less than a quarter of this; but never is a long time.
    if (this.#room.length < RECORD_SIZE) {
      this.#halves[0] = Buffer.allocUnsafeSlow(READ_BUFFER_SIZE / 2)
      this.#room = this.#halves[0]
    }
  }

  /** Nothing that was read before is in use any more. */
  release(): void {
    this.#released = true
  }
}
