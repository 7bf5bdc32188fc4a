/**
 * Reading a list by offsets while it changes. The vendor lists archives newest first and knows no cursor: an archive that is
 * recorded meanwhile moves all others down, one that is deleted moves the older ones up, past an offset that was already
 * read. So pages overlap, and a page that holds nothing known does not prove that nothing was skipped: it is read again
 * further up.
 */
import { VendorError } from "./vendor-error.ts"

/** So many full pages of known items are no list that grows: nobody records as fast as it is read. */
const MOST_STALE_PAGES = 20

export interface ListingOptions<Item> {
  /** Items in one page. */
  readonly pageSize: number
  /** Items that a page shares with the one before it: so many may be deleted in between without a step back. */
  readonly overlap: number
  fetchPage(offset: number, count: number): Promise<readonly Item[]>
  idOf(item: Item): string
}

/**
 * Every item that is in the list from the beginning to the end of the reading, exactly once, in the list's order; of those
 * that come or go meanwhile, some. A server that gives shorter pages than asked for is understood.
 */
export async function* readShiftingList<Item>(options: ListingOptions<Item>): AsyncGenerator<Item> {
  const { pageSize, overlap, fetchPage, idOf } = options
  const seen = new Set<string>()
  let offset = 0
  /** Items of the next page that are known already, if nothing is deleted before it is read. */
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
    // A short page without news is the end of the list; a full one may be old items that new ones have moved down.
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
