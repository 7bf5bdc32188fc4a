import type { FaultAction } from "../faults/plan.ts"
import type { Reply, S3Request, ServerState } from "../http/handler.ts"
import type { S3Error } from "../http/s3-error.ts"

/** A request before its signature is checked. */
export type ArrivingRequest = Pick<S3Request, "operation" | "bucket" | "key" | "query" | "headers">

/**
 * Where a quirk can intervene while a request is served, in this order. Every hook may throw a `S3Error` as the answer. A
 * quirk keeps its state in its closure, and starts afresh each time it is switched on.
 */
export interface QuirkHooks {
  /** Milliseconds by which the store's clock is ahead of this machine's. */
  readonly clockAheadMs?: number
  /** Overrides parts of the store's state. */
  readonly state?: Partial<Pick<ServerState, "region" | "etags">>
  /** A fault that strikes every request. */
  readonly action?: FaultAction
  /** Runs before the signature is checked. */
  arrive?(request: ArrivingRequest): void
  /** Runs after that check and before the operation. A returned reply replaces the operation's. */
  before?(request: S3Request, state: ServerState): Reply | undefined
  /** Sees a body that is a document (for example of CompleteMultipartUpload) before the operation acts on it. */
  document?(text: string, request: ArrivingRequest): void
  /** Changes the operation's reply. */
  reply?(reply: Reply, request: S3Request, state: ServerState): Reply | Promise<Reply>
  /** Changes a refusal of the operation, the signature check or another quirk. */
  refusal?(refusal: S3Error, request: ArrivingRequest): S3Error
  /** Called once for each request that `before` has seen, when its reply is sent or its connection is lost. */
  ended?(request: S3Request): void
}

export interface QuirkRow {
  /** One sentence about what such a store does. */
  readonly meaning: string
  create(): QuirkHooks
}
