/** The options that every adapter gets. */
import { PART_UNIT } from "../format/parts.ts"
import type { ExchangeObserver } from "./http/exchanges.ts"
import type { StoreNotice } from "./notices.ts"

/** What `openStore` passes to every adapter. */
export interface AdapterOptions {
  /** The preferred part size. For each object the adapter adjusts it to the store's limits. */
  readonly partSizeBytes: number
  /** The environment, for settings that the store's SDK does not read itself. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** How long a connection may be silent before it is given up. */
  readonly idleTimeoutMs: number
  /** Used instead of the SDK's chain and the URL's profile. Only for S3. */
  readonly credentials?: S3Credentials | undefined
  /** Called with each notice. */
  readonly onNotice?: ((notice: StoreNotice) => void) | undefined
  /** Called with each HTTP request, as it goes out. */
  readonly onExchange?: ExchangeObserver | undefined
}

/** S3 credentials of one store. The SDK's chain belongs to the whole process, which may be the wrong scope. */
export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** 8 MiB as whole `PART_UNIT`s: a 4-hour archive of 12 GB has 1,431 parts, and eight parts in flight take 64 MiB. */
export const DEFAULT_PART_SIZE_BYTES = 11_156 * PART_UNIT

/** Longer than any healthy store is silent, and shorter than a job's lock. */
export const DEFAULT_IDLE_TIMEOUT_MS = 30_000
