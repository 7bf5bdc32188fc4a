/** Shows each HTTP request of a store to an observer, as tracing needs it. */
import type { IncomingResponse } from "./connection.ts"
import { type Origin, originOf } from "./origin.ts"
import type { OutgoingRequest } from "./request.ts"

/** A request as it goes out. */
export interface ExchangeStart extends Origin {
  readonly method: string
  /** Path and query, which may hold credentials. Use them only to tell whether one request repeats another. */
  readonly target: string
}

/** How a request ended: with a whole answer, or without. */
export interface ExchangeEnd {
  /** Of the answer, if its head came. */
  readonly status?: number | undefined
  /** What ended it before its answer was whole. */
  readonly error?: unknown
}

/** Called with each request. What it returns is called when the request has ended. Only the first call counts. */
export type ExchangeObserver = (request: ExchangeStart) => ((end: ExchangeEnd) => void) | undefined

/** Shows a request for `url` to `observe`, if there is one. Call the result at the request's end. */
export const observeUrl = (
  observe: ExchangeObserver | undefined,
  method: string,
  url: URL,
): ((end: ExchangeEnd) => void) =>
  observe?.({ ...originOf(url), method, target: `${url.pathname}${url.search}` }) ?? (() => {})

/** Makes `exchange`, and shows it to `observe`. The exchange ends with the response's body, if there can be one. */
export async function observeExchange(
  observe: ExchangeObserver,
  { secure, host, port }: Origin,
  { method, target }: Pick<OutgoingRequest, "method" | "target">,
  exchange: () => Promise<IncomingResponse>,
): Promise<IncomingResponse> {
  const end = observe({ secure, host, port, method, target })
  if (end === undefined) return exchange()
  let answer: IncomingResponse
  try {
    answer = await exchange()
  } catch (error) {
    end({ error })
    throw error
  }
  const { status, headers, body } = answer
  // Nobody may read a body that isn't there.
  if (method === "HEAD" || status === 204 || headers["content-length"] === "0") {
    end({ status })
    return answer
  }
  return { ...answer, body: tellingItsEnd(body, (error) => end({ status, error })) }
}

/** The same pieces. Calls `tell` when `body` has ended or failed, or when nobody wants it any more. */
function tellingItsEnd(
  body: AsyncIterableIterator<Uint8Array>,
  tell: (error?: unknown) => void,
): AsyncIterableIterator<Uint8Array> {
  const self: AsyncIterableIterator<Uint8Array> = {
    [Symbol.asyncIterator]: () => self,
    async next() {
      try {
        const step = await body.next()
        if (step.done) tell()
        return step
      } catch (error) {
        tell(error)
        throw error
      }
    },
    async return(value) {
      tell()
      return (await body.return?.(value)) ?? { done: true, value }
    },
  }
  return self
}
