import { once } from "node:events"
import type { IncomingMessage, ServerResponse } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import { authorize, type Credential, claimedAccessKey } from "../access/authorization.ts"
import type { Policies } from "../access/policies.ts"
import type { Operation, OperationLog } from "../faults/log.ts"
import type { FaultAction, FaultPlan } from "../faults/plan.ts"
import * as archival from "../operations/archival.ts"
import * as buckets from "../operations/bucket.ts"
import * as copies from "../operations/copy.ts"
import * as listings from "../operations/listing.ts"
import * as multipart from "../operations/multipart.ts"
import * as objects from "../operations/object.ts"
import { refuseUnsupported } from "../operations/object-headers.ts"
import type { ArrivingRequest } from "../quirks/hooks.ts"
import type { QuirkRun, Quirks } from "../quirks/quirks.ts"
import { ConnectionDropped, type Handler, type Reply, type S3Request, type ServerState } from "./handler.ts"
import { faultReply, s3ErrorReply, sendReply } from "./reply.ts"
import { findOperation, type OperationName, readTarget, type Target } from "./routing.ts"
import { S3Error } from "./s3-error.ts"

const HANDLERS: Readonly<Record<Exclude<OperationName, "Unknown">, Handler>> = {
  ListBuckets: buckets.listBuckets,
  CreateBucket: buckets.createBucket,
  HeadBucket: buckets.headBucket,
  DeleteBucket: buckets.deleteBucket,
  GetBucketLocation: buckets.getBucketLocation,
  DeleteObjects: buckets.deleteObjects,
  ListObjects: listings.listObjects,
  ListObjectsV2: listings.listObjectsV2,
  ListParts: listings.listParts,
  ListMultipartUploads: listings.listMultipartUploads,
  PutObject: objects.putObject,
  GetObject: objects.getObject,
  HeadObject: objects.getObject,
  DeleteObject: objects.deleteObject,
  CopyObject: copies.copyObject,
  UploadPartCopy: copies.uploadPartCopy,
  CreateMultipartUpload: multipart.createMultipartUpload,
  UploadPart: multipart.uploadPart,
  CompleteMultipartUpload: multipart.completeMultipartUpload,
  AbortMultipartUpload: multipart.abortMultipartUpload,
  RestoreObject: archival.restoreObject,
}

export interface ServerContext {
  readonly state: ServerState
  readonly credentials: ReadonlyMap<string, Credential>
  readonly domains: readonly string[]
  readonly faults: FaultPlan
  readonly policies: Policies
  readonly quirks: Quirks
  readonly operations: OperationLog
  /** Makes the request ids of different servers differ. */
  readonly requestPrefix: string
}

/** The log entry of a request that is being served. */
type Entry = { -readonly [K in keyof Operation]: Operation[K] }

let requests = 0

/** Serves and logs one request, from its head to the end of its reply. Never rejects. */
export async function serveRequest(
  incoming: IncomingMessage,
  response: ServerResponse,
  continueExpected: boolean,
  context: ServerContext,
): Promise<void> {
  const started = performance.now()
  const requestId = `${context.requestPrefix}${(++requests).toString(16).toUpperCase().padStart(8, "0")}`
  const gone = new AbortController()
  response.once("close", () => gone.abort())
  // A lost connection also aborts the signal and fails reads and writes, so this event needs no handling.
  response.on("error", () => {})
  incoming.on("error", () => {})
  response.setHeader("x-amz-request-id", requestId)
  response.setHeader("x-amz-id-2", requestId)

  const entry: Entry = {
    at: Date.now(),
    operation: "Unknown",
    bucket: "",
    key: "",
    status: 0,
    bytesIn: 0,
    bytesOut: 0,
  }
  context.operations.begin(entry)
  let fault: FaultAction = {}
  let waiting = continueExpected
  const askForBody = () => {
    if (waiting) response.writeContinue()
    waiting = false
  }
  let reply: Reply | undefined
  const quirks = context.quirks.begin(claimedAccessKey(incoming.url ?? "", incoming.headers.authorization))
  if (quirks.clockAheadMs !== 0)
    response.setHeader("date", new Date(Date.now() + quirks.clockAheadMs).toUTCString())
  try {
    const served = await findReply(incoming, response, context, entry, {
      askForBody,
      quirks,
      requestId,
      signal: gone.signal,
    })
    ;({ reply, fault } = served)
    // The client was not told to send its body, and may or may not send it. The connection can't be reused.
    if (waiting) response.setHeader("connection", "close")
    entry.status = reply.status
    await sendReply(response, reply, {
      files: context.state.files,
      withoutBody: incoming.method === "HEAD",
      fault,
      countOut: (bytes) => {
        entry.bytesOut += bytes
      },
      signal: gone.signal,
    })
  } catch (error) {
    entry.broken = true
    // A fault of the server itself, which must not pass for a planned one.
    if (!isConnectionLost(error) && !gone.signal.aborted) console.error("s3 server: reply failed", error)
    if (!(error instanceof ConnectionDropped)) incoming.socket.destroy()
  } finally {
    await reply?.object?.release()
  }
  quirks.ended()
  entry.durationMs = performance.now() - started
  context.operations.end(entry)
}

/** Runs the operation, or what the fault plan puts in its place. Rejects only if there is nobody to answer. */
async function findReply(
  incoming: IncomingMessage,
  response: ServerResponse,
  context: ServerContext,
  entry: Entry,
  {
    askForBody,
    quirks,
    requestId,
    signal,
  }: { askForBody: () => void; quirks: QuirkRun; requestId: string; signal: AbortSignal },
): Promise<{ reply: Reply; fault: FaultAction }> {
  const { method = "", url = "", rawHeaders, headers } = incoming
  let fault: FaultAction = quirks.action
  let request: ArrivingRequest | undefined
  let accessKeyId = ""
  try {
    const { credentials, faults } = context
    const state = quirks.state(context.state)
    const target = readTarget(url, headers.host ?? "", context.domains)
    const { operation, refusal } = findOperation(method, target, headers["x-amz-copy-source"] !== undefined)
    noteTarget(entry, operation, target, headers.range)
    const arriving = { ...target, operation, headers }
    request = arriving
    quirks.arrive(arriving)
    const now = Date.now() + quirks.clockAheadMs
    const signed = authorize({ method, target: url, rawHeaders }, credentials, state.region, now)
    if (operation === "Unknown") throw refusal!
    ;({ accessKeyId } = signed)
    context.policies.check(accessKeyId, arriving)
    refuseUnsupported(headers)

    const struck = faults.strike(operation, target.key, accessKeyId)
    if (struck) entry.fault = Object.keys(struck).join(",")
    fault = { ...fault, ...struck }
    const instead = await strikeBefore(fault, response, requestId, signal)
    if (instead) return { reply: instead, fault }
    const admitted: S3Request = {
      ...arriving,
      ...signed,
      incoming,
      fault,
      askForBody,
      countIn: (bytes) => {
        entry.bytesIn += bytes
      },
      seeDocument: (text) => quirks.document(text, arriving),
      signal,
    }
    const own = quirks.before(admitted, state)
    const reply = own ?? (await quirks.reply(await HANDLERS[operation](admitted, state), admitted, state))
    return { reply: (await strikeAfter(fault, reply, response, requestId)) ?? reply, fault }
  } catch (error) {
    if (isConnectionLost(error) || signal.aborted) throw error
    let refusal = error instanceof S3Error ? error : new S3Error("InternalError")
    // A fault of the server itself, which must not hide among the planned ones.
    if (refusal !== error) console.error(`s3 server: ${entry.operation} failed`, error)
    if (request) refusal = quirks.refusal(context.policies.refusal(refusal, accessKeyId, request), request)
    entry.code = refusal.code
    return { reply: s3ErrorReply(refusal, url.split("?", 1)[0]!, requestId), fault }
  }
}

function noteTarget(
  entry: Entry,
  operation: OperationName,
  { bucket, key, query }: Target,
  range: string | undefined,
): void {
  Object.assign(entry, { operation, bucket, key })
  const uploadId = query.get("uploadId")
  const partNumber = Number(query.get("partNumber"))
  if (uploadId !== undefined) entry.uploadId = uploadId
  if (partNumber > 0) entry.partNumber = partNumber
  if (range !== undefined) entry.range = range
}

async function strikeBefore(
  fault: FaultAction,
  response: ServerResponse,
  requestId: string,
  signal: AbortSignal,
): Promise<Reply | undefined> {
  if (fault.delayMs) await sleep(fault.delayMs, undefined, { signal })
  if (fault.hang) {
    if (!signal.aborted) await once(signal, "abort")
    throw new ConnectionDropped()
  }
  if (fault.reset) drop(response)
  if (fault.status !== undefined) return faultReply(fault.status, fault.code, requestId)
  return fault.errorInOk && faultReply(200, fault.code, requestId)
}

async function strikeAfter(
  fault: FaultAction,
  reply: Reply,
  response: ServerResponse,
  requestId: string,
): Promise<Reply | undefined> {
  const status = fault.applyThenErrorInOk ? 200 : fault.applyThenStatus
  if (!fault.applyThenReset && status === undefined) return undefined
  await reply.object?.release()
  if (fault.applyThenReset) drop(response)
  return faultReply(status!, fault.code, requestId)
}

/** A fault or a client that is gone closed the connection. A read or a write may fail before the signal is aborted. */
const isConnectionLost = (error: unknown): boolean =>
  error instanceof ConnectionDropped ||
  ["ECONNRESET", "EPIPE", "ERR_STREAM_PREMATURE_CLOSE"].includes(
    String((error as { readonly code?: unknown }).code),
  )

function drop(response: ServerResponse): never {
  response.socket?.resetAndDestroy()
  throw new ConnectionDropped()
}
