/**
 * Protects bodies in transit. The store compares a CRC-32 in a header with what it received. Stores that don't know the header
 * refuse it with 501 or 400. Buckets with Object Lock require it, or a Content-MD5. And
 * AWS_REQUEST_CHECKSUM_CALCULATION=when_required leaves it out. The first refusal shows what a store accepts.
 */
import { createHash } from "node:crypto"
import type { IncomingResponse } from "../http/connection.ts"
import { checkCrc32 } from "../part-checks.ts"
import type { Protection } from "./capabilities.ts"
import type { S3Bucket } from "./connection/client.ts"
import { detailOf, nameOf, statusOf, wordsOf } from "./facts.ts"
import type { ObjectRequest } from "./object-requests.ts"

export const CRC32_HEADER = "x-amz-checksum-crc32"

/** As in `x-amz-checksum-crc32`: base64 of the four bytes, big-endian. */
export function base64Crc32(crc32: number): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(crc32 >>> 0)
  return bytes.toString("base64")
}

export interface BodyRequest extends ObjectRequest {
  readonly method: "PUT"
  readonly body: readonly Uint8Array[]
  readonly crc32: number
  /** For messages: `part 2 of s3://bucket/key`. */
  readonly label: string
}

/** Sends a body with the protection that the store accepts. A body sent without its CRC-32 is checked against it first. */
export async function sendBody(
  bucket: S3Bucket,
  { crc32, label, ...request }: BodyRequest,
  signal: AbortSignal,
): Promise<IncomingResponse> {
  const { capabilities } = bucket
  const tried = new Set<Protection>()
  for (let protection = capabilities.protection; ; ) {
    tried.add(protection)
    if (protection !== "crc32") checkCrc32(request.body, crc32, label)
    const headers = { ...request.headers, ...headersOf(protection, request.body, crc32) }
    try {
      const response = await bucket.objects.send({ ...request, headers }, signal)
      if (protection === "crc32") capabilities.checksumTaken = true
      else capabilities.protection = protection
      return response
    } catch (error) {
      const next = signal.aborted
        ? null
        : protectionAfter(error, protection, headers, capabilities.checksumTaken)
      if (next === null || tried.has(next)) throw error
      protection = next
    }
  }
}

function headersOf(
  protection: Protection,
  body: readonly Uint8Array[],
  crc32: number,
): Record<string, string> {
  if (protection === "none") return {}
  if (protection === "crc32") return { [CRC32_HEADER]: base64Crc32(crc32) }
  const md5 = createHash("md5")
  for (const piece of body) md5.update(piece)
  return { "content-md5": md5.digest("base64") }
}

function protectionAfter(
  error: unknown,
  used: Protection,
  headers: Readonly<Record<string, string>>,
  taken: boolean,
): Protection | null {
  if (used === "none") return demandsChecksum(error) ? "md5" : null
  if (used === "md5") return null
  const hasCondition = headers["if-none-match"] !== undefined
  return refusesChecksum(error, !taken && !hasCondition) ? "none" : null
}

const REFUSED = ["NotImplemented", "InvalidArgument", "InvalidRequest", "UnsupportedOperation", "BadRequest"]

/** Whether a store says that it does not accept a header. */
export const refusesHeader = (error: unknown): boolean =>
  statusOf(error) === 501 || (statusOf(error) === 400 && REFUSED.includes(nameOf(error)))

const saidBy = (error: unknown): string => `${detailOf(error, "Header") ?? ""} ${wordsOf(error)}`

/** Whether a store says that it does not accept checksums. With `inDoubt`, a store that names no reason is suspected too. */
export function refusesChecksum(error: unknown, inDoubt: boolean): boolean {
  if (!refusesHeader(error)) return false
  if (/checksum/i.test(saidBy(error))) return true
  return inDoubt && nameOf(error) !== "InvalidRequest"
}

const demandsChecksum = (error: unknown): boolean =>
  statusOf(error) === 400 && /content-md5|checksum/i.test(saidBy(error))
