import type { ErrorCode } from "../errors.ts"
import {
  type AdapterOptions,
  DEFAULT_IDLE_TIMEOUT_MS,
  DEFAULT_PART_SIZE_BYTES,
  type OpenedStore,
  type S3Credentials,
  type StoreNotice,
} from "./adapter.ts"
import { withRequestLimit } from "./limited.ts"
import { RequestLimit } from "./request-limit.ts"
import { withRetries } from "./retry.ts"
import { parseStoreUrl, type StoreUrl } from "./url.ts"

export interface OpenStoreOptions {
  /** The preferred part size; 8 MiB if left out. The store moves it into its limits. */
  readonly partSizeBytes?: number | undefined
  /** The process's environment, handed in because only a `config.ts` reads it; the SDKs' own chains read it themselves. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Called before each retry of a request, for the metric. */
  readonly onRetry?: ((code: ErrorCode) => void) | undefined
  /** What the requests in flight are held to; one of the store's own if left out. A directory needs none. */
  readonly limit?: RequestLimit | undefined
  /** A connection on which nothing moved for so long is given up; 30 s if left out. */
  readonly idleTimeoutMs?: number | undefined
  /** Instead of the SDK's chain and the URL's profile, for `s3://` only; `azure://` takes them from `env` in any case. */
  readonly credentials?: S3Credentials | undefined
  /** Told what the adapter finds out about its store. */
  readonly onNotice?: ((notice: StoreNotice) => void) | undefined
}

/**
 * Opens the store that `url` names (see `parseStoreUrl`), with flow control and the request layer's retries around it. Nothing is asked of
 * the store yet: that a bucket is missing shows with the first call. `StoreUrlError` if the URL can't be used.
 */
export async function openStore(url: string, options: OpenStoreOptions): Promise<OpenedStore> {
  const parsed = parseStoreUrl(url)
  const store = await openAdapter(parsed, {
    partSizeBytes: options.partSizeBytes ?? DEFAULT_PART_SIZE_BYTES,
    idleTimeoutMs: options.idleTimeoutMs ?? DEFAULT_IDLE_TIMEOUT_MS,
    env: options.env,
    credentials: options.credentials,
    onNotice: options.onNotice,
  })
  const { onRetry, limit = new RequestLimit() } = options
  const limited = parsed.kind === "file" ? store : withRequestLimit(store, limit, { onRetry })
  return { ...withRetries(limited, { onRetry }), close: () => store.close() }
}

// Imported only when asked for: an SDK takes longer to load than a small archive takes to decrypt.
async function openAdapter(url: StoreUrl, options: AdapterOptions): Promise<OpenedStore> {
  switch (url.kind) {
    case "s3":
      return (await import("./s3/store.ts")).openS3Store(url, options)
    case "azure":
      return (await import("./azure/store.ts")).openAzureStore(url, options)
    case "file":
      return (await import("./directory/store.ts")).openFileStore(url, options)
  }
}
