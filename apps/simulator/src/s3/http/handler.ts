import type { IncomingHttpHeaders, IncomingMessage } from "node:http"
import type { PayloadProof } from "../access/authorization.ts"
import type { FaultAction } from "../faults/plan.ts"
import type { Archives } from "../storage/archival.ts"
import type { ObjectFiles, Span } from "../storage/object-files.ts"
import type { EtagForm, ObjectStore, ObjectVersion } from "../storage/object-store.ts"
import type { MultipartUploads } from "../storage/uploads.ts"
import type { OperationName, Target } from "./routing.ts"

/** A request with a valid signature. */
export interface S3Request extends Target {
  readonly operation: OperationName
  readonly headers: IncomingHttpHeaders
  /** Who signed it. */
  readonly accessKeyId: string
  readonly proof: PayloadProof
  readonly incoming: IncomingMessage
  readonly fault: FaultAction
  /** Sends `100 Continue` to a client that waits for it before sending the body. */
  readonly askForBody: () => void
  readonly countIn: (bytes: number) => void
  /** Called with each body that is a document. */
  readonly seeDocument: (text: string) => void
  /** Aborted when the connection ends. */
  readonly signal: AbortSignal
}

/** The answer of an operation. At most one of `xml` and `object` is set. */
export interface Reply {
  readonly status: number
  readonly headers?: Readonly<Record<string, string | number>>
  readonly xml?: string
  readonly object?: {
    readonly version: ObjectVersion
    readonly span: Span
    /** Must be called once the bytes are sent. */
    readonly release: () => Promise<void>
  }
}

/** The state that operations work on. */
export interface ServerState {
  readonly region: string
  readonly etags: EtagForm
  readonly files: ObjectFiles
  readonly store: ObjectStore
  readonly uploads: MultipartUploads
  readonly archives: Archives
  /** Replies of completed uploads by upload id, if a repeated Complete gets the first one's reply. */
  readonly completed?: Map<string, Reply>
}

export type Handler = (request: S3Request, state: ServerState) => Reply | Promise<Reply>

/** A fault closed the connection, so there is nobody to answer. */
export class ConnectionDropped extends Error {}
