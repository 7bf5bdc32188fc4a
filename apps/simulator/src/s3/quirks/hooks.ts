import type { FaultAction } from "../faults/plan.ts"
import type { Reply, S3Request, ServerState } from "../http/exchange.ts"
import type { Refusal } from "../http/refusals.ts"

/** A request before its signature was checked. */
export type ArrivingRequest = Pick<S3Request, "operation" | "bucket" | "key" | "query" | "headers">

/**
 * Where a quirk takes part in the serving of a request, in this order. Every hook may throw a `Refusal`, which is the answer
 * then. What a quirk remembers between requests is in its closure: it is created anew each time that it is switched on.
 */
export interface QuirkHooks {
  /** Milliseconds by which the store's clock is ahead of this machine's. */
  readonly clockAheadMs?: number
  /** What is otherwise about the store's state. */
  readonly state?: Partial<Pick<ServerState, "region" | "etags">>
  /** A fault that strikes every request. */
  readonly action?: FaultAction
  /** Before the signature is checked. */
  arrive?(request: ArrivingRequest): void
  /** After it was checked, and before the operation: what it returns is the answer instead. */
  before?(request: S3Request, state: ServerState): Reply | undefined
  /** Sees a body that is a document (of CompleteMultipartUpload, for example) before the operation acts on it. */
  document?(text: string, request: ArrivingRequest): void
  /** Changes the operation's reply. */
  reply?(reply: Reply, request: S3Request, state: ServerState): Reply | Promise<Reply>
  /** Changes a refusal: the operation's, the signature's or another quirk's. */
  refusal?(refusal: Refusal, request: ArrivingRequest): Refusal
  /** Called once for each request that `before` has seen, when its reply was sent or its connection lost. */
  ended?(request: S3Request): void
}

export interface QuirkRow {
  /** One sentence: what such a store does. */
  readonly meaning: string
  create(): QuirkHooks
}
