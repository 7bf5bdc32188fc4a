import { IncomingMessage, type OutgoingHttpHeaders, ServerResponse } from "node:http"
import { Socket } from "node:net"
import helmet from "helmet"

/**
 * Sends `document` as the whole answer. `headers` are those of this answer alone, with names in lower case.
 *
 * All that every answer has goes into one head: header by header, as Express and helmet set them, it was a tenth of the time
 * that a callback takes (`npm run bench -- --chapter ingest`).
 */
export function answer(
  response: ServerResponse,
  status: number,
  document: object,
  headers: OutgoingHttpHeaders = {},
): void {
  const body = JSON.stringify(document)
  response.writeHead(status, {
    ...EVERY_ANSWER,
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(body),
    ...headers,
  })
  response.end(body)
}

/** What helmet sets for an interface without pages, which is the same for every answer. */
const EVERY_ANSWER: OutgoingHttpHeaders = { ...securityHeaders(), "cache-control": "no-store" }

function securityHeaders(): OutgoingHttpHeaders {
  const request = new IncomingMessage(new Socket())
  const response = new ServerResponse(request)
  const nothing = { defaultSrc: ["'none'"], frameAncestors: ["'none'"] }
  const protect = helmet({ contentSecurityPolicy: { useDefaults: false, directives: nothing } })
  protect(request, response, () => {})
  return response.getHeaders()
}
