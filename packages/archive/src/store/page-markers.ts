import { counted } from "../counted.ts"
import { UnsealError } from "../errors.ts"

/**
 * Tracks the markers of a listing's pages. `advance` returns where the next page begins, or `undefined` at the end. Throws
 * `ERR_STORE_UNAVAILABLE` if the store announces more, but gives no marker or a marker that was already used.
 */
export function createMarkers(listing: string) {
  const seen = new Set<string>([""])
  return {
    advance(isTruncated: boolean | undefined, marker: string | undefined): string | undefined {
      if (!isTruncated) return undefined
      const next = marker ?? ""
      if (seen.has(next))
        throw new UnsealError(
          "ERR_STORE_UNAVAILABLE",
          `${listing} does not advance: after ${counted(seen.size, "page")} the store says that there is more, but not where`,
        )
      seen.add(next)
      return next
    },
  }
}
