/** The size of one read of a file. */
export const BUFFER_SIZE = 512 * 1024

/**
 * Buffers that no read is using. Allocating one for each piece costs a quarter of the time in page faults and garbage
 * collection (`npm run bench -- --chapter files`). There are as many as the command line has parts in flight.
 */
const reserve: Buffer[] = []
const RESERVE = 8

/** A buffer of `BUFFER_SIZE` bytes with arbitrary content. */
export const takeBuffer = (): Buffer => reserve.pop() ?? Buffer.allocUnsafeSlow(BUFFER_SIZE)

/** Returns a buffer that is no longer in use. */
export function giveBuffer(buffer: Buffer): void {
  if (reserve.length < RESERVE) reserve.push(buffer)
}
