/** S3's error documents, in the shape of the SDK's own errors, so that one function translates both. */
import type { IncomingResponse } from "../../http/connection.ts"

/** Elements of error documents, beside code and message, that somebody uses. */
const DETAILS = ["StorageClass", "Region", "Header"] as const
export type ErrorDetail = (typeof DETAILS)[number]

/** An answer that is an error. */
export class S3ResponseError extends Error {
  readonly $metadata: { readonly httpStatusCode: number }
  readonly $response: { readonly headers: Readonly<Record<string, string>> }

  constructor({ status, headers }: Pick<IncomingResponse, "status" | "headers">, document: string) {
    super(elementOf(document, "Message") ?? "Unknown")
    this.name = elementOf(document, "Code") ?? String(status)
    this.$metadata = { httpStatusCode: status }
    this.$response = { headers }
    // Like the SDK: each element is a property.
    const details = DETAILS.map((name) => [name, elementOf(document, name)])
    Object.assign(this, Object.fromEntries(details.filter(([, text]) => text !== undefined)))
  }
}

/** Reads an error answer to its end. */
export async function readErrorResponse(response: IncomingResponse): Promise<S3ResponseError> {
  return new S3ResponseError(response, await documentOf(response))
}

/** More than any error document. */
const ERROR_LIMIT = 64 * 1024

async function documentOf(response: IncomingResponse): Promise<string> {
  const pieces: Buffer[] = []
  let size = 0
  for await (const piece of response.body) {
    pieces.push(Buffer.from(piece))
    size += piece.length
    if (size > ERROR_LIMIT) break
  }
  return Buffer.concat(pieces).toString("utf8")
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" }

/** The text of an element in S3's error document, which has no nesting that could hide another of that name. */
function elementOf(document: string, name: string): string | undefined {
  const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(document)?.[1]
  return text?.replaceAll(/&(amp|lt|gt|quot|apos);/g, (_, entity: string) => ENTITIES[entity]!)
}
