/**
 * The aws-chunked content encoding (API reference, "Signature calculations: transferring payload in multiple chunks" and
 * "… with trailing headers"): chunks of `<hex size>[;chunk-signature=<hex>]\r\n<data>\r\n`, a last one of size 0, then the
 * trailers. Data is passed on before its signature arrives, so nothing may become visible before the end.
 */
import { createHash, type Hash } from "node:crypto"
import { type ChunkSigner, sameSignature } from "../access/authorization.ts"
import { S3Error } from "../http/s3-error.ts"

const MAX_LINE_BYTES = 8 * 1024
const MIN_CHUNK_BYTES = 8 * 1024

export interface ChunkedBody {
  /** Verifies signed chunks. Without it, chunk signatures are neither required nor allowed. */
  readonly signer?: ChunkSigner
  /** The header names announced by `x-amz-trailer`, in lower case. */
  readonly trailers: readonly string[]
}

/** Yields the payload of `source`, and returns the trailers. Throws `S3Error` for bad framing, signatures or trailers. */
export async function* decodeChunks(
  source: AsyncIterable<Buffer>,
  body: ChunkedBody,
): AsyncGenerator<Buffer, ReadonlyMap<string, string>> {
  const { signer } = body
  let line: Buffer = Buffer.alloc(0)
  let state = "size" as "size" | "data" | "data-end" | "trailer" | "end"
  let left = 0
  let size = 0
  let signature = ""
  let previous = signer?.seed ?? ""
  let small = false
  let hash: Hash | undefined
  const trailers: string[] = []

  const endChunk = (): void => {
    if (!signer || !hash) return
    const expected = signer.chunk(previous, hash.digest("hex"))
    if (!sameSignature(expected, signature)) throw new S3Error("SignatureDoesNotMatch")
    previous = expected
  }
  const readSize = (text: string): void => {
    const match = /^([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(text)
    if (!match || (match[2] !== undefined) !== (signer !== undefined)) throw new S3Error("IncompleteBody")
    size = left = Number.parseInt(match[1]!, 16)
    signature = match[2] ?? ""
    if (signer) hash = createHash("sha256")
    if (size > 0 && small) throw new S3Error("InvalidChunkSizeError")
    small = size < MIN_CHUNK_BYTES
    if (size > 0) state = "data"
    else {
      endChunk()
      state = "trailer"
    }
  }
  const readLine = (text: string): void => {
    if (state === "size") readSize(text)
    else if (state === "data-end") {
      if (text !== "") throw new S3Error("IncompleteBody")
      endChunk()
      state = "size"
    } else if (text === "") state = "end"
    else trailers.push(text)
  }

  for await (const chunk of source) {
    let at = 0
    while (at < chunk.length) {
      if (state === "end") throw new S3Error("IncompleteBody")
      if (state === "data") {
        const data = chunk.subarray(at, at + left)
        hash?.update(data)
        at += data.length
        left -= data.length
        if (left === 0) state = "data-end"
        yield data
        continue
      }
      const end = chunk.indexOf(0x0a, at)
      const piece = chunk.subarray(at, end < 0 ? chunk.length : end + 1)
      line = line.length === 0 ? piece : Buffer.concat([line, piece])
      if (line.length > MAX_LINE_BYTES) throw new S3Error("IncompleteBody")
      at += piece.length
      if (end < 0) break
      if (line.at(-2) !== 0x0d) throw new S3Error("IncompleteBody")
      const text = line.toString("latin1", 0, line.length - 2)
      line = Buffer.alloc(0)
      readLine(text)
    }
  }
  if (state !== "end") throw new S3Error("IncompleteBody")
  return readTrailers(trailers, body, previous)
}

function readTrailers(
  lines: readonly string[],
  { signer, trailers }: ChunkedBody,
  previous: string,
): ReadonlyMap<string, string> {
  const found = new Map(
    lines.map((line): [string, string] => {
      const at = line.indexOf(":")
      if (at < 1) throw new S3Error("MalformedTrailerError")
      return [line.slice(0, at).trim().toLowerCase(), line.slice(at + 1).trim()]
    }),
  )
  const signature = found.get("x-amz-trailer-signature")
  found.delete("x-amz-trailer-signature")
  if (found.size !== trailers.length || !trailers.every((name) => found.has(name)))
    throw new S3Error("MalformedTrailerError")
  if (signer && trailers.length > 0) {
    const canonical = trailers.toSorted().map((name) => `${name}:${found.get(name)}\n`)
    const hash = createHash("sha256").update(canonical.join(""), "latin1").digest("hex")
    if (!sameSignature(signer.trailer(previous, hash), signature ?? ""))
      throw new S3Error("SignatureDoesNotMatch")
  }
  return found
}
