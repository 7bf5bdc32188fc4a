import type { StoreNotice } from "./adapter.ts"

/** A notice as a one-line clause for operators: what is wrong, and what to set right. */
export function describeNotice(notice: StoreNotice): string {
  switch (notice.what) {
    case "clock-skew": {
      const { seconds } = notice
      if (Math.abs(seconds) < 60) return "the store's clock agrees with this machine's again"
      return `the store's clock is ${Math.abs(seconds)} s ${seconds > 0 ? "ahead of" : "behind"} this machine's: requests are signed by the store's; set the wrong one right`
    }
    case "other-region":
      return `the bucket is in region ${notice.region}: requests are signed for it; add region=${notice.region} to the store's URL`
    case "blind":
      return "the store denies the look at objects that are not there: grant s3:ListBucket, or a missing object can't be told from a forbidden one"
    case "abort-denied":
      return `the store denies the end of uploads that are given up: grant ${notice.permission}, or their parts stay and cost money`
    case "uploads-denied":
      return `the store denies the list of open uploads: grant ${notice.permission}, or what a lost worker has uploaded stays until the janitor removes it`
  }
}
