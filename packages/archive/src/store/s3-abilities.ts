/**
 * What a bucket's store has shown of itself. S3 has no call that tells what a store can do, and to ask before every object costs
 * requests: with these, a small archive takes five instead of eight.
 */
export interface S3Abilities {
  /** Whether the bucket has been there a moment ago, so that a 404 is about the key. */
  readonly bucketSeen: boolean
  seeBucket(): void
  /**
   * Whether PutObject heeds `If-None-Match: *`. A store that does not may say so, or replace what is there without a word: so
   * it is known only when an object that is there has been written once more in vain.
   */
  conditionalPut: "unknown" | "being tried" | "heeded" | "ignored"
  /** Objects of one part that were made visible under the condition: for one alone, finding out would cost more than it saves. */
  conditionalPuts: number
}

/** A bucket that was removed is noticed after so long, at the latest. */
const SEEN_MS = 60_000

/** Nothing is known yet. */
export function createAbilities(): S3Abilities {
  let seenUntil = Number.NEGATIVE_INFINITY
  return {
    get bucketSeen() {
      return performance.now() < seenUntil
    },
    seeBucket() {
      seenUntil = performance.now() + SEEN_MS
    },
    conditionalPut: "unknown",
    conditionalPuts: 0,
  }
}
