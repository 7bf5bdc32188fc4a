/** How the demo must end for each quirk: with all archives equal to openssl's, or with one sentence that says whose move it is. */
import type { QuirkName } from "@unseal/simulator/s3/quirks/quirks"

/** What may be at the destination after a sentence: archives that the quirk spares, and possibly those that the store tore. */
export type Leaves = "nothing" | "whole archives" | "torn archives"

export interface QuirkEnd {
  /** The URL parameters that the store demands, by side. With them the demo ends with all archives equal. */
  readonly parameters?: {
    readonly source?: Readonly<Record<string, string>>
    readonly destination?: Readonly<Record<string, string>>
  }
  /** What the workers say. If there are `parameters` too, they say it without them. */
  readonly sentence?: RegExp
  /** What a run that ends in a sentence may leave. Default `nothing`. */
  readonly leaves?: Leaves
}

const EQUAL: QuirkEnd = {}
const OWNER = { expectedBucketOwner: "111122223333" }
const PAYER = { requestPayer: "requester" }

export const QUIRK_ENDS: Readonly<Record<QuirkName, QuirkEnd>> = {
  denied: { sentence: /the credentials lack the permission s3:ListBucket|answered 403 AccessDenied/ },
  "hidden-keys": EQUAL,
  "plain-denials": EQUAL,
  archived: { sentence: /is in the storage class GLACIER and can't be read before it is restored/ },
  "clock-ahead": EQUAL,
  "clock-behind": EQUAL,
  "other-region-301": EQUAL,
  "other-region-400": EQUAL,
  "redirect-307": EQUAL,
  "expired-token": { sentence: /answered 400 ExpiredToken: .*whoever issues them must renew them/ },
  "throttled-400": EQUAL,
  "internal-errors": EQUAL,
  "no-checksum-501": EQUAL,
  "no-checksum-400": EQUAL,
  "checksums-ignored": EQUAL,
  "object-lock": EQUAL,
  "no-conditions-501": EQUAL,
  "no-conditions-400": EQUAL,
  "conditions-ignored": EQUAL,
  "complete-412-checksums": EQUAL,
  "complete-412-condition": EQUAL,
  "equal-parts": EQUAL,
  // An archive of one part is one PutObject, which neither quirk affects.
  "complete-lost": { sentence: /has nothing under/, leaves: "whole archives" },
  "complete-short": { sentence: /^ERR_COMMIT_MISMATCH/, leaves: "torn archives" },
  "weak-etags": { sentence: /answered with the weak ETag W\/".*something between here and the store/ },
  "no-etags": { sentence: /answered without an ETag.*something between here and the store/ },
  "bare-etags": EQUAL,
  "long-etags": EQUAL,
  "kms-etags": EQUAL,
  "endless-listings": EQUAL,
  "slow-down": EQUAL,
  "slow-down-writes": EQUAL,
  "retry-after": EQUAL,
  "too-many-429": EQUAL,
  "lone-403": EQUAL,
  "demands-sse-kms": {
    parameters: { destination: { serverSideEncryption: "aws:kms", sseKmsKeyId: "alias/archives" } },
    sentence: /answered 403 AccessDenied/,
  },
  "demands-acl": {
    parameters: { destination: { acl: "bucket-owner-full-control" } },
    sentence: /answered 403 AccessDenied/,
  },
  "demands-tagging": {
    parameters: { destination: { tagging: "team=media" } },
    sentence: /answered 403 AccessDenied/,
  },
  "demands-storage-class": {
    parameters: { destination: { storageClass: "STANDARD_IA" } },
    sentence: /answered 403 AccessDenied/,
  },
  "demands-owner": {
    parameters: { source: OWNER, destination: OWNER },
    sentence: /the credentials lack the permission s3:ListBucket|answered 403 AccessDenied/,
  },
  "requester-pays": {
    // The quirk affects the whole server, hence both buckets.
    parameters: { source: PAYER, destination: PAYER },
    sentence: /answered 403 AccessDenied.*requestPayer=requester in the store's URL/,
  },
}

export interface QuirkRun {
  readonly quirk: QuirkName
  readonly plainUrls: boolean
  /** How the run must end; `undefined` if all archives must equal openssl's. */
  readonly sentence: RegExp | undefined
}

/** The runs that cover every quirk. A quirk that a URL parameter changes is run with and without it. */
export const quirkRuns = (): readonly QuirkRun[] =>
  (Object.entries(QUIRK_ENDS) as [QuirkName, QuirkEnd][]).flatMap<QuirkRun>(
    ([quirk, { parameters, sentence }]) =>
      parameters
        ? [
            { quirk, plainUrls: false, sentence: undefined },
            { quirk, plainUrls: true, sentence },
          ]
        : [{ quirk, plainUrls: false, sentence }],
  )

/** How a run with these quirks must end. Several together have no sentence: their archives must be equal. */
export function sentenceOf(quirks: readonly QuirkName[], plainUrls: boolean): RegExp | undefined {
  const [only, ...others] = quirks
  if (only === undefined || others.length > 0) return undefined
  return quirkRuns().find((run) => run.quirk === only && run.plainUrls === plainUrls)?.sentence
}

/** What a run with these quirks may leave at the destination if it ends in a sentence. */
export const leavesOf = (quirks: readonly QuirkName[]): Leaves =>
  (quirks.length === 1 && QUIRK_ENDS[quirks[0]!].leaves) || "nothing"

/** The parameters that these quirks demand in the store URLs. */
export function parametersOf(quirks: readonly QuirkName[]) {
  const all = quirks.map((quirk) => QUIRK_ENDS[quirk].parameters ?? {})
  return {
    source: Object.assign({}, ...all.map(({ source }) => source)) as Record<string, string>,
    destination: Object.assign({}, ...all.map(({ destination }) => destination)) as Record<string, string>,
  }
}
