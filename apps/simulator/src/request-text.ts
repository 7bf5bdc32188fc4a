import type { IncomingMessage } from "node:http"

/** The body of `request` as text, or `null` if it has more than `limit` bytes. The connection can still carry the refusal. */
export async function textOf(request: IncomingMessage, limit: number): Promise<string | null> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > limit) return null
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString("utf8")
}
