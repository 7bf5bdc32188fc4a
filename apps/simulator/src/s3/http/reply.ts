import { once } from "node:events"
import type { ServerResponse } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import type { FaultAction } from "../faults/plan.ts"
import type { ObjectFiles } from "../storage/object-files.ts"
import { ConnectionDropped, type Reply } from "./handler.ts"
import type { S3Error } from "./s3-error.ts"
import { element, xmlDocument } from "./xml.ts"

const DEFAULT_CODES: Readonly<Record<number, string>> = {
  400: "InvalidRequest",
  403: "AccessDenied",
  404: "NoSuchKey",
  409: "OperationAborted",
  412: "PreconditionFailed",
  429: "TooManyRequests",
  500: "InternalError",
  503: "SlowDown",
}

/** The reply that a fault sends in place of the operation's. */
export function faultReply(status: number, code: string | undefined, requestId: string): Reply {
  const name = code ?? DEFAULT_CODES[status] ?? (status === 200 ? "InternalError" : `Status${status}`)
  return errorReply(status, name, "injected fault", {}, requestId)
}

export function s3ErrorReply(refusal: S3Error, resource: string, requestId: string): Reply {
  const { status, code, message, details, headers } = refusal
  return { ...errorReply(status, code, message, { ...details, Resource: resource }, requestId), headers }
}

function errorReply(
  status: number,
  code: string,
  message: string,
  details: Readonly<Record<string, string | number>>,
  requestId: string,
): Reply {
  return {
    status,
    xml: xmlDocument("Error", [
      element("Code", code),
      element("Message", message),
      ...Object.entries(details).map(([name, value]) => element(name, value)),
      element("RequestId", requestId),
      element("HostId", requestId),
    ]),
  }
}

/** Sends `reply` and applies faults of the reply's body. Rejects if the connection ends before the reply is sent. */
export async function sendReply(
  response: ServerResponse,
  reply: Reply,
  options: {
    files: ObjectFiles
    withoutBody: boolean
    fault: FaultAction
    countOut: (bytes: number) => void
    signal: AbortSignal
  },
): Promise<void> {
  const { files, withoutBody, fault, signal, countOut } = options
  const text = reply.xml === undefined ? undefined : Buffer.from(reply.xml)
  const headers: Record<string, string | number> = {
    ...(text && { "content-type": "application/xml" }),
    ...(reply.status !== 204 && reply.status !== 304 && { "content-length": text?.length ?? 0 }),
    ...reply.headers,
  }
  const { object } = reply
  const size = withoutBody ? 0 : object ? object.span.end - object.span.start : (text?.length ?? 0)
  const sentBytes = Math.min(size, fault.shortBody ?? size)
  if (sentBytes < size) {
    if (fault.framing === "chunked") delete headers["content-length"]
    else headers["content-length"] = sentBytes
  }
  response.writeHead(reply.status, headers)
  const body = sentBytes === 0 ? [] : object ? files.read(object.version.files, object.span) : [text!]

  const dropAt =
    fault.resetAfterBytes !== undefined && fault.resetAfterBytes < size ? fault.resetAfterBytes : size
  const end = Math.min(sentBytes, dropAt)
  let sent = 0
  for await (const chunk of body) {
    const piece = chunk.subarray(0, end - sent)
    await write(response, piece, fault.throttleBytesPerSecond, signal)
    countOut(piece.length)
    sent += piece.length
    if (sent === end) break
  }
  if (dropAt < size) {
    if (sent === 0) response.flushHeaders()
    response.socket?.destroy()
    throw new ConnectionDropped()
  }
  response.end()
  // The bytes are sent. If the client closes the connection now, it has received them all.
  if (!response.writableFinished && !signal.aborted)
    await Promise.race([once(response, "finish"), once(response, "close")])
}

/** Resolves once the kernel has the bytes, so that their memory can be reused. */
async function write(
  response: ServerResponse,
  bytes: Buffer,
  bytesPerSecond: number | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (bytesPerSecond !== undefined) {
    // Ten portions a second: the client sees a slow stream rather than a pause and a burst.
    const portion = Math.max(Math.ceil(bytesPerSecond / 10), 1)
    for (let at = 0; at < bytes.length; at += portion) {
      const piece = bytes.subarray(at, at + portion)
      await write(response, piece, undefined, signal)
      await sleep((piece.length / bytesPerSecond) * 1000, undefined, { signal })
    }
    return
  }
  if (bytes.length === 0) return
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  // A destroyed response calls back with an error. A response whose client is gone may not call back at all.
  signal.addEventListener("abort", reject, { once: true })
  response.write(bytes, (error) => (error ? reject(error) : resolve()))
  await promise.finally(() => signal.removeEventListener("abort", reject))
}
