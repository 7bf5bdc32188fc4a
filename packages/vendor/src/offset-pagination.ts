/**
 * Reads a list by offsets while it changes. The vendor lists archives newest first and has no cursor. An archive recorded
 * during the reading moves all others down; a deletion moves the older ones up, possibly past an offset already read. So
 * pages overlap. A page without any known item may have skipped some, so the reader steps back and reads it again.
 */
import { VendorError } from "./vendor-error.ts"

/** After this many full pages of known items the list is not growing but broken: nobody records as fast as this reads. */
const MOST_STALE_PAGES = 20

export interface OffsetListOptions<Item> {
  /** Items per page. */
  readonly pageSize: number
  /** How many items a page shares with the previous one. Up to that many deletions in between need no step back. */
  readonly overlap: number
  fetchPage(offset: number, count: number): Promise<readonly Item[]>
  idOf(item: Item): string
}

/**
 * Yields every item that is in the list throughout the reading exactly once, in the list's order. Items that come or go
 * during the reading may be missing. A server may return shorter pages than requested.
 */
export async function* listByOffset<Item>(options: OffsetListOptions<Item>): AsyncGenerator<Item> {
  const { pageSize, overlap, fetchPage, idOf } = options
  const seen = new Set<string>()
  let offset = 0
  /** How many items of the next page are already known if nothing is deleted before it is read. */
  let known = 0
  let longest = 0
  let stepBack = pageSize
  let stale = 0
  for (;;) {
    const page = await fetchPage(offset, pageSize)
    longest = Math.max(longest, page.length)
    if (known > 0 && offset > 0 && !page.some((item) => seen.has(idOf(item)))) {
      offset = Math.max(0, offset - stepBack)
      stepBack *= 2
      continue
    }
    stepBack = pageSize
    let news = 0
    for (const item of page) {
      const id = idOf(item)
      if (seen.has(id)) continue
      seen.add(id)
      news++
      yield item
    }
    // A short page without news ends the list. A full one may hold old items that new ones have moved down.
    if (page.length === 0 || (news === 0 && page.length < longest)) return
    stale = news === 0 ? stale + 1 : 0
    if (stale === MOST_STALE_PAGES)
      throw new VendorError(
        "ERR_STORE_UNAVAILABLE",
        `the vendor's list does not advance: ${stale} pages in a row hold nothing new, the last at offset ${offset}`,
        {
          remedy:
            "check that nothing between here and the vendor drops the offset from the URL; then try again",
        },
      )
    known = Math.min(overlap, page.length >> 1)
    offset += page.length - known
  }
}
