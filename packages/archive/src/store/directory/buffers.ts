/** Bytes of one read of a file. */
export const BUFFER_SIZE = 512 * 1024

/**
 * Memory that no read is using: a new one for each piece costs a quarter of the time in page faults and collections
 * (`npm run bench -- --chapter files`). As many as the command line has parts in flight.
 */
const reserve: Buffer[] = []
const RESERVE = 8

/** Memory of `BUFFER_SIZE` bytes, of any content. */
export const takeBuffer = (): Buffer => reserve.pop() ?? Buffer.allocUnsafeSlow(BUFFER_SIZE)

/** Gives memory back that nobody uses any more. */
export function giveBuffer(buffer: Buffer): void {
  if (reserve.length < RESERVE) reserve.push(buffer)
}
