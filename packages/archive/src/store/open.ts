import type { ErrorCode } from "../errors.ts"
import type { OpenedStore } from "./contract.ts"
import type { ExchangeObserver } from "./http/exchanges.ts"
import { needingPackages } from "./needed-packages.ts"
import type { StoreNotice } from "./notices.ts"
import { type StoreRequest, withObservedRequests } from "./observed.ts"
import {
  type AdapterOptions,
  DEFAULT_IDLE_TIMEOUT_MS,
  DEFAULT_PART_SIZE_BYTES,
  type S3Credentials,
} from "./options.ts"
import { RequestLimit } from "./requests/limit.ts"
import { withRequestLimit } from "./requests/limited.ts"
import { withRetries } from "./requests/retry.ts"
import { parseStoreUrl, type StoreUrl } from "./url.ts"

export interface OpenStoreOptions {
  /** The preferred part size. The store adjusts it to its limits. Default 8 MiB. */
  readonly partSizeBytes?: number | undefined
  /** The process's environment, passed in because only a `config.ts` reads it. The SDKs' own chains read it themselves. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Called before each retry of a request, for the metric. */
  readonly onRetry?: ((code: ErrorCode) => void) | undefined
  /** Called after each request, for the metric. */
  readonly onRequest?: ((request: StoreRequest) => void) | undefined
  /** The limit on requests in flight. Default: one of the store's own. A directory needs none. */
  readonly limit?: RequestLimit | undefined
  /** How long a connection may be silent before it is given up. Default 30 s. */
  readonly idleTimeoutMs?: number | undefined
  /** Used instead of the SDK's chain and the URL's profile, for `s3://` only. `azure://` always takes them from `env`. */
  readonly credentials?: S3Credentials | undefined
  /** Called with what the adapter finds out about its store. */
  readonly onNotice?: ((notice: StoreNotice) => void) | undefined
  /** Called with each HTTP request, as it goes out: each try of a request that is repeated. A directory makes none. */
  readonly onExchange?: ExchangeObserver | undefined
}

/**
 * Opens the store that `url` names (see `parseStoreUrl`), with flow control and the request layer's retries. Sends nothing yet: a
 * missing bucket shows with the first call. Throws `StoreUrlError` if the URL can't be used.
 */
export async function openStore(url: string, options: OpenStoreOptions): Promise<OpenedStore> {
  const parsed = parseStoreUrl(url)
  const store = await openAdapter(parsed, {
    partSizeBytes: options.partSizeBytes ?? DEFAULT_PART_SIZE_BYTES,
    idleTimeoutMs: options.idleTimeoutMs ?? DEFAULT_IDLE_TIMEOUT_MS,
    env: options.env,
    credentials: options.credentials,
    onNotice: options.onNotice,
    onExchange: options.onExchange,
  })
  const { onRetry, onRequest, limit = new RequestLimit() } = options
  const observed = withObservedRequests(store, onRequest)
  const limited = parsed.kind === "file" ? observed : withRequestLimit(observed, limit, { onRetry })
  return { ...withRetries(limited, { onRetry }), close: () => store.close() }
}

/** What each adapter imports: optional peers of the package, so that users of one store need not install the other's. */
const S3_PACKAGES = ["@aws-sdk/client-s3", "@aws-sdk/credential-providers", "@smithy/signature-v4"] as const
const AZURE_PACKAGES = ["@azure/storage-blob"] as const

// Imported only when needed: an SDK takes longer to load than a small archive takes to decrypt.
async function openAdapter(url: StoreUrl, options: AdapterOptions): Promise<OpenedStore> {
  switch (url.kind) {
    case "s3":
      return (await needingPackages("s3://", S3_PACKAGES, () => import("./s3/store.ts"))).openS3Store(
        url,
        options,
      )
    case "azure":
      return (
        await needingPackages("azure://", AZURE_PACKAGES, () => import("./azure/store.ts"))
      ).openAzureStore(url, options)
    case "file":
      return (await import("./directory/store.ts")).openFileStore(url, options)
  }
}
