/** Limits the answers that Azure's SDK reads whole, without a limit of its own: listings, block lists and errors. */
import type { BlobServiceClient } from "@azure/storage-blob"

/** The longest answers, block lists of 50,000 blocks and listings of 5,000 long names, take less than 10 MiB. */
const RESPONSE_LIMIT = 16 * 1024 * 1024

/** A peer sent an answer that does not end. */
export class ResponseTooLongError extends Error {
  override readonly name = "ResponseTooLongError"
  constructor() {
    super(`the response has more than ${RESPONSE_LIMIT} bytes`)
  }
}

/** The parts of a request that are used here. Its agent leads to the proxy, if there is one. */
export interface PipelineRequest {
  readonly url: string
  readonly method: string
  readonly agent?: unknown
  readonly abortSignal?: object
  streamResponseStatusCodes?: Set<number>
}

export interface PipelineResponse {
  readonly status: number
  readonly headers: Iterable<[name: string, value: string]>
  bodyAsText?: string | null
  readableStreamBody?: NodeJS.ReadableStream
}

export type Next = (request: PipelineRequest) => Promise<PipelineResponse>

interface Policy {
  readonly name: string
  sendRequest(request: PipelineRequest, next: Next): Promise<PipelineResponse>
}

/** The internals of a client that accept a policy. The SDK's own options accept only policies that see answers already read. */
interface Insides {
  readonly storageClientContext: {
    readonly pipeline: {
      addPolicy(policy: Policy, options: { afterPhase: "Sign"; beforePolicies?: string[] }): void
    }
  }
}

/** Limits answers of `service`, and of all clients that it makes, to 16 MiB (`ResponseTooLongError`), except object bodies. */
export function limitResponses(service: BlobServiceClient): BlobServiceClient {
  const { pipeline } = (service as unknown as Insides).storageClientContext
  // The innermost place: policies further out see the text that the SDK has already read.
  pipeline.addPolicy({ name: LIMIT, sendRequest: sendLimited }, { afterPhase: "Sign" })
  return service
}

const LIMIT = "limitResponses"

/** By request signal: the listener for the bytes of answers that are read whole. */
const listeners = new WeakMap<object, (bytes: number) => void>()

/** Calls `moved` with the size of each piece of an answer to requests with this `signal`. */
export function watchResponses(signal: AbortSignal, moved: (bytes: number) => void): void {
  listeners.set(signal, moved)
}

/** Sends the requests of `service`, and of all clients that it makes, with `sendRequest`. Its answers are already limited. */
export function sendBy(service: BlobServiceClient, policy: Policy): BlobServiceClient {
  const { pipeline } = (service as unknown as Insides).storageClientContext
  pipeline.addPolicy(policy, { afterPhase: "Sign", beforePolicies: [LIMIT] })
  return service
}

async function sendLimited(request: PipelineRequest, next: Next): Promise<PipelineResponse> {
  const streamed = request.streamResponseStatusCodes
  request.streamResponseStatusCodes = new Set([Number.POSITIVE_INFINITY])
  const response = await next(request).finally(() => {
    if (streamed) request.streamResponseStatusCodes = streamed
    else delete request.streamResponseStatusCodes
  })
  const body = response.readableStreamBody
  if (body === undefined || streamed?.has(response.status)) return response
  const { abortSignal } = request
  response.bodyAsText = await readText(body, (bytes) => abortSignal && listeners.get(abortSignal)?.(bytes))
  delete response.readableStreamBody
  return response
}

async function readText(body: NodeJS.ReadableStream, moved: (bytes: number) => void): Promise<string> {
  const pieces: Buffer[] = []
  let size = 0
  for await (const piece of body as AsyncIterable<Buffer>) {
    size += piece.length
    if (size > RESPONSE_LIMIT) throw new ResponseTooLongError()
    moved(piece.length)
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString("utf8")
}
