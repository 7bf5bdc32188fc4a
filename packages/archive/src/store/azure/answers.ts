/** Answers that Azure's SDK reads whole before it looks at them: listings, block lists and errors. It sets no limit to them. */
import type { BlobServiceClient } from "@azure/storage-blob"

/** The longest, a block list of 50,000 blocks or a listing of 5,000 long names, takes less than 10 MiB. */
const ANSWER_LIMIT = 16 * 1024 * 1024

/** A peer whose answer does not end. */
export class AnswerTooLongError extends Error {
  override readonly name = "AnswerTooLongError"
  constructor() {
    super(`the answer has more than ${ANSWER_LIMIT} bytes`)
  }
}

/** What is looked at of a request, whose agent leads to a proxy if one is to be asked. */
export interface PipelineRequest {
  readonly url: string
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

/** The part of a client's insides that takes a policy. The SDK's own options take only those that see an answer once it is read. */
interface Insides {
  readonly storageClientContext: {
    readonly pipeline: {
      addPolicy(policy: Policy, options: { afterPhase: "Sign"; beforePolicies?: string[] }): void
    }
  }
}

/** `service`, whose answers, and those of all clients that it makes, end in an `AnswerTooLongError` after 16 MiB; an object's bytes do not count. */
export function limitAnswers(service: BlobServiceClient): BlobServiceClient {
  const { pipeline } = (service as unknown as Insides).storageClientContext
  // The innermost place: what lies further out finds the text that the SDK would have read.
  pipeline.addPolicy({ name: LIMIT, sendRequest: sendLimited }, { afterPhase: "Sign" })
  return service
}

const LIMIT = "limitAnswers"

/** Who hears of the bytes of an answer that is read whole, by the signal of its request. */
const listeners = new WeakMap<object, (bytes: number) => void>()

/** Calls `moved` with the bytes of each piece that comes of answers to requests with this `signal`. */
export function hearAnswers(signal: AbortSignal, moved: (bytes: number) => void): void {
  listeners.set(signal, moved)
}

/** `service`, whose requests, and those of all clients that it makes, are sent by `sendRequest`. Its answers are limited already. */
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
  response.bodyAsText = await readWhole(body, (bytes) => abortSignal && listeners.get(abortSignal)?.(bytes))
  delete response.readableStreamBody
  return response
}

async function readWhole(body: NodeJS.ReadableStream, moved: (bytes: number) => void): Promise<string> {
  const pieces: Buffer[] = []
  let size = 0
  for await (const piece of body as AsyncIterable<Buffer>) {
    size += piece.length
    if (size > ANSWER_LIMIT) throw new AnswerTooLongError()
    moved(piece.length)
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString("utf8")
}
