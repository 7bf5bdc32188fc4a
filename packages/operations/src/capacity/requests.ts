/** The requests of one archive, from the measured figures. */
import { FIGURES } from "./figures.ts"

const S3_MOST_PARTS = 10_000
/** The settings' default. */
export const PART_SIZE_BYTES = 8_389_312

/** The parts of an archive of `size` bytes. An empty archive has none, but its object is still written. */
export const partsOf = (size: number): number =>
  Math.max(1, Math.ceil(size / Math.max(PART_SIZE_BYTES, Math.ceil(size / S3_MOST_PARTS))))

/** The requests to the source and to the destination for an archive of `size` bytes. */
export function requestsOf(size: number): {
  readonly parts: number
  readonly reads: number
  readonly writes: number
} {
  const parts = partsOf(size)
  const requests = parts === 1 ? FIGURES.requestsOfOnePart.value : parts + FIGURES.requestsBesideParts.value
  return { parts, reads: requests, writes: requests }
}
