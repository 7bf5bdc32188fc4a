import { createHash } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { ConnectionDropped, type S3Request } from "../http/handler.ts"
import { S3Error } from "../http/s3-error.ts"
import type { ObjectFiles, StoredFile } from "../storage/object-files.ts"
import { ALGORITHMS, type ChecksumAlgorithm, checksumHeader, isChecksumAlgorithm } from "./checksums.ts"
import { decodeChunks } from "./chunked.ts"

const MAX_PUT_BYTES = 5 * 1024 ** 3
const MAX_DOCUMENT_BYTES = 8 * 1024 ** 2

const PREFIX = "x-amz-checksum-"
const NOT_VALUES = ["algorithm", "mode", "type"].map((name) => PREFIX + name)

/** The additional checksum that a request announces for its body, in a header or in the trailer. */
export interface AnnouncedChecksum {
  readonly algorithm: ChecksumAlgorithm
  /** Absent if the value follows in the trailer. */
  readonly value?: string
}

/** The checksum that a request announces. Throws `S3Error` for more than one. */
export function announcedChecksum({ headers }: S3Request): AnnouncedChecksum | undefined {
  const found: AnnouncedChecksum[] = []
  for (const [name, value] of Object.entries(headers))
    if (name.startsWith(PREFIX) && !NOT_VALUES.includes(name))
      found.push({ algorithm: readChecksumAlgorithm(name.slice(PREFIX.length)), value: String(value) })
  for (const name of trailerNames(headers["x-amz-trailer"])) {
    if (!name.startsWith(PREFIX))
      throw new S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
    found.push({ algorithm: readChecksumAlgorithm(name.slice(PREFIX.length)) })
  }
  if (found.length > 1)
    throw new S3Error(
      "InvalidRequest",
      "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
    )
  const [checksum] = found
  if (checksum?.value !== undefined && !isBase64(checksum.value, ALGORITHMS[checksum.algorithm].bytes))
    throw new S3Error("InvalidRequest", `Value for ${checksumHeader(checksum.algorithm)} header is invalid.`)
  checkSdkAlgorithm(headers["x-amz-sdk-checksum-algorithm"], checksum)
  return checksum
}

/** The algorithm that a client names. Throws `S3Error` for one that the server doesn't verify: it must not appear verified. */
export function readChecksumAlgorithm(name: string): ChecksumAlgorithm {
  const algorithm = name.toUpperCase()
  if (!isChecksumAlgorithm(algorithm))
    throw new S3Error(
      "NotImplemented",
      `The checksum algorithm ${algorithm} is not one of ${Object.keys(ALGORITHMS).join(", ")}`,
    )
  return algorithm
}

function checkSdkAlgorithm(
  name: string | string[] | undefined,
  checksum: AnnouncedChecksum | undefined,
): void {
  if (name === undefined) return
  if (!checksum)
    throw new S3Error(
      "InvalidRequest",
      "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
    )
  if (String(name).toUpperCase() !== checksum.algorithm)
    throw new S3Error("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")
}

const trailerNames = (header: string | string[] | undefined): string[] =>
  header === undefined
    ? []
    : String(header)
        .split(",")
        .map((name) => name.trim().toLowerCase())

function isBase64(text: string, bytes: number): boolean {
  const decoded = Buffer.from(text, "base64")
  return decoded.length === bytes && decoded.toString("base64") === text
}

export interface ReceivedFile {
  readonly file: StoredFile
  readonly md5?: Buffer
  readonly checksum?: Buffer
}

/** Digests to compute in addition to those that the request asks to verify. */
export interface Wanted {
  readonly md5: boolean
  readonly checksum?: ChecksumAlgorithm | undefined
}

/** Stores the request's body as a file and verifies it. Leaves no file if that fails. */
export async function receiveFile(
  request: S3Request,
  files: ObjectFiles,
  announced: AnnouncedChecksum | undefined,
  wanted: Wanted,
): Promise<ReceivedFile> {
  const payload = openPayload(request, announced, wanted, MAX_PUT_BYTES)
  const file = await files.write(payload.chunks)
  return { file, ...payload.digests() }
}

/** Reads the request's body as text and verifies it. */
export async function receiveText(
  request: S3Request,
  announced?: AnnouncedChecksum | undefined,
): Promise<string> {
  const chunks: Buffer[] = []
  const payload = openPayload(request, announced, { md5: false }, MAX_DOCUMENT_BYTES)
  for await (const chunk of payload.chunks) chunks.push(chunk)
  const text = Buffer.concat(chunks).toString("utf8")
  request.seeDocument(text)
  return text
}

interface Digests {
  readonly md5?: Buffer
  readonly checksum?: Buffer
}

interface Payload {
  /** Throws `S3Error` at the end if the bytes are not those that were announced. */
  readonly chunks: AsyncIterable<Buffer>
  /** Call it after the last chunk. */
  digests(): Digests
}

function openPayload(
  request: S3Request,
  announced: AnnouncedChecksum | undefined,
  wanted: Wanted,
  maxBytes: number,
): Payload {
  const { headers, proof } = request
  const expectedBytes = payloadLength(request)
  if (expectedBytes > maxBytes)
    throw new S3Error("EntityTooLarge", undefined, { ProposedSize: expectedBytes, MaxSizeAllowed: maxBytes })
  const contentMd5 = headers["content-md5"]
  if (contentMd5 !== undefined && !isBase64(String(contentMd5), 16)) throw new S3Error("InvalidDigest")

  const algorithm = announced?.algorithm ?? wanted.checksum
  const md5 = wanted.md5 || contentMd5 !== undefined ? createHash("md5") : undefined
  const sha256 = proof.kind === "hash" ? createHash("sha256") : undefined
  const checksum = algorithm && ALGORITHMS[algorithm].start()
  let digests: Digests = {}

  async function* verified(): AsyncGenerator<Buffer> {
    let size = 0
    const source = payloadChunks(request)
    let next = await source.next()
    for (; !next.done; next = await source.next()) {
      const chunk = next.value
      size += chunk.length
      if (size > expectedBytes) throw new S3Error("IncompleteBody")
      md5?.update(chunk)
      sha256?.update(chunk)
      checksum?.update(chunk)
      yield chunk
    }
    if (size !== expectedBytes) throw new S3Error("IncompleteBody")

    const sha256Hex = sha256?.digest("hex")
    if (proof.kind === "hash" && sha256Hex !== proof.sha256)
      throw new S3Error("XAmzContentSHA256Mismatch", undefined, {
        ClientComputedContentSHA256: proof.sha256,
        S3ComputedContentSHA256: sha256Hex!,
      })
    digests = {
      ...(md5 && { md5: md5.digest() }),
      ...(checksum && { checksum: checksum.digest() }),
    }
    if (contentMd5 !== undefined && digests.md5!.toString("base64") !== contentMd5)
      throw new S3Error("BadDigest", undefined, {
        ExpectedDigest: String(contentMd5),
        CalculatedDigest: digests.md5!.toString("base64"),
      })
    if (announced) {
      const value = announced.value ?? next.value.get(checksumHeader(announced.algorithm))
      if (value !== digests.checksum!.toString("base64"))
        throw new S3Error(
          "BadDigest",
          `The ${announced.algorithm} you specified did not match the calculated checksum.`,
        )
    }
  }
  return { chunks: verified(), digests: () => digests }
}

/** The decoded body's size in bytes. */
function payloadLength({ headers, proof }: S3Request): number {
  const chunked = proof.kind === "signed-chunks" || proof.kind === "unsigned-chunks"
  const length = headers[chunked ? "x-amz-decoded-content-length" : "content-length"]
  if (length !== undefined && /^\d+$/.test(String(length))) return Number(length)
  if (!chunked && headers["transfer-encoding"] !== undefined)
    throw new S3Error("NotImplemented", undefined, { Header: "Transfer-Encoding" })
  throw new S3Error("MissingContentLength")
}

async function* payloadChunks(request: S3Request): AsyncGenerator<Buffer, ReadonlyMap<string, string>> {
  const { proof, headers } = request
  request.askForBody()
  const received = receivedChunks(request)
  if (proof.kind === "signed-chunks" || proof.kind === "unsigned-chunks") {
    const trailers = trailerNames(headers["x-amz-trailer"])
    const allowed = proof.kind === "unsigned-chunks" || proof.trailer
    if (!allowed && trailers.length > 0) throw new S3Error("MalformedTrailerError")
    return yield* decodeChunks(received, {
      trailers,
      ...(proof.kind === "signed-chunks" && { signer: proof.signer }),
    })
  }
  yield* received
  return new Map()
}

/** The body as it arrives on the wire, with the faults that strike there. */
async function* receivedChunks({ incoming, fault, countIn, signal }: S3Request): AsyncGenerator<Buffer> {
  let size = 0
  // A refusal leaves the loop early. Destroying the stream then would close the connection before the reply is sent.
  for await (const chunk of incoming.iterator({ destroyOnReturn: false })) {
    countIn(chunk.length)
    size += chunk.length
    if (fault.resetAfterBytes !== undefined && size >= fault.resetAfterBytes) {
      incoming.socket.destroy()
      throw new ConnectionDropped()
    }
    if (fault.throttleBytesPerSecond)
      await sleep((chunk.length / fault.throttleBytesPerSecond) * 1000, undefined, { signal })
    yield chunk
  }
}
