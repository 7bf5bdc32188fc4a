/** A finding about the store, for a log line or a metric. Sent when it is made, and when it changes. */
export type StoreNotice =
  /** The store's clock is this far ahead of this machine's (behind, if negative). Requests are signed by it from now on. */
  | { readonly what: "clock-skew"; readonly seconds: number }
  /** The bucket is in another region than configured. Requests are signed for it from now on. */
  | { readonly what: "other-region"; readonly region: string }
  /** A look at an object was denied, so it may or may not exist. Sent for each such look. */
  | { readonly what: "blind" }
  /** Aborting an upload is not permitted: its parts stay. */
  | { readonly what: "abort-denied"; readonly permission: string }
  /** Listing one key's uploads is not permitted: uploads that earlier runs left behind are not found. */
  | { readonly what: "uploads-denied"; readonly permission: string }

/** A notice as a one-line clause for operators: what is wrong, and what to set right. */
export function describeNotice(notice: StoreNotice): string {
  switch (notice.what) {
    case "clock-skew": {
      const { seconds } = notice
      if (Math.abs(seconds) < 60) return "the store's clock agrees with this machine's again"
      return `the store's clock is ${Math.abs(seconds)} s ${seconds > 0 ? "ahead of" : "behind"} this machine's: requests are signed by the store's; correct the wrong one`
    }
    case "other-region":
      return `the bucket is in region ${notice.region}: requests are signed for it; add region=${notice.region} to the store's URL`
    case "blind":
      return "the store denies looks at missing objects: grant s3:ListBucket, or a missing object can't be told from a forbidden one"
    case "abort-denied":
      return `the store does not let abandoned uploads be aborted: grant ${notice.permission}, or their parts stay and cost money`
    case "uploads-denied":
      return `the store does not let open uploads be listed: grant ${notice.permission}, or what a lost worker has uploaded stays until the janitor removes it`
  }
}
