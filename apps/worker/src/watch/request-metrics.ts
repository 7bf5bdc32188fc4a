/** Times the requests to stores, the vendor's API and key rings, one attempt each, beneath the retries. */
import { REQUEST_OUTCOMES, type RequestOutcome } from "@unseal/archive/request-outcome"
import { STORE_OPERATIONS, type StoreOperation, type StoreRequest } from "@unseal/archive/store/observed"
import { createHistogram, type Registry } from "@unseal/service/metrics"

const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const SIDES = ["source", "destination", "vendor"] as const
export type StoreSide = (typeof SIDES)[number]

const isWriting = (operation: StoreOperation) => operation === "write" || operation === "commit"

/** Where requests are reported. */
export type RequestMetrics = ReturnType<typeof createRequestMetrics>

export function createRequestMetrics(registry: Registry) {
  const stores = createHistogram(registry, {
    name: "unseal_store_request_seconds",
    help: "Time of one request to a store until its response, or until the first byte of a read; each retry is a request of its own. Requests for the vendor's copies have the side vendor. A look at a store that is both source and destination counts as the source's",
    labels: { side: SIDES, operation: STORE_OPERATIONS, outcome: REQUEST_OUTCOMES },
    buckets: BUCKETS,
    begins: ({ side, operation, outcome }) =>
      outcome === "ok" && (side === "destination" || !isWriting(operation)),
  })
  const vendor = createHistogram(registry, {
    name: "unseal_vendor_request_seconds",
    help: "Time of one request to the vendor's REST API for the URL of a copy",
    labels: { outcome: REQUEST_OUTCOMES },
    buckets: BUCKETS,
    begins: ({ outcome }) => outcome === "ok",
  })
  const keys = createHistogram(registry, {
    name: "unseal_key_request_seconds",
    help: "Time of one request to a key ring, a directory or a key service: to look at its keys, or to unwrap a password with them",
    labels: { outcome: REQUEST_OUTCOMES },
    buckets: BUCKETS,
    begins: ({ outcome }) => outcome === "ok",
  })
  return {
    store: (side: StoreSide, { operation, outcome, seconds }: StoreRequest) =>
      stores.observe({ side, operation, outcome }, seconds),
    vendor: (outcome: RequestOutcome, seconds: number) => vendor.observe({ outcome }, seconds),
    keys: (outcome: RequestOutcome, seconds: number) => keys.observe({ outcome }, seconds),
  }
}

/** Which side a request to the store of a URL belongs to, if projects read from `sources` and write to `destinations`. */
export function sideOf(
  url: string,
  operation: StoreOperation,
  { sources, destinations }: Readonly<Record<"sources" | "destinations", ReadonlySet<string>>>,
): StoreSide {
  if (isWriting(operation)) return "destination"
  return destinations.has(url) && !sources.has(url) ? "destination" : "source"
}
