/**
 * Peer d: what one writes with the AWS SDK in an afternoon. The body of one GetObject goes through createDecipheriv and is
 * uploaded in parts from memory, 8 MiB each and four at once. It stands in for lib-storage's `Upload`, which is no dependency.
 *
 * usage: peer-d.ts BUCKET KEY; writes to the same key of `decrypted`.
 */
import { createDecipheriv } from "node:crypto"
import type { Readable } from "node:stream"
import {
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3"

const PART_BYTES = 8 * 1024 * 1024
const PARTS_AT_ONCE = 4

const [bucket, key] = process.argv.slice(2)
const client = new S3Client({
  forcePathStyle: true,
  requestChecksumCalculation: "WHEN_REQUIRED",
  responseChecksumValidation: "WHEN_REQUIRED",
})
const secret = (name: string) => Buffer.from(process.env[name] ?? "", "hex")
const decipher = createDecipheriv("aes-256-cbc", secret("CONTENT_KEY"), secret("CONTENT_IV")).setAutoPadding(
  false,
)

const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }))
const target = { Bucket: "decrypted", Key: key }
const { UploadId } = await client.send(new CreateMultipartUploadCommand(target))
const parts: CompletedPart[] = []
const uploading = new Set<Promise<void>>()
let pending: Buffer[] = []
let pendingBytes = 0

for await (const chunk of (Body as Readable).pipe(decipher)) {
  pending.push(chunk)
  pendingBytes += chunk.length
  if (pendingBytes < PART_BYTES) continue
  const bytes = Buffer.concat(pending)
  await uploadPart(bytes.subarray(0, PART_BYTES))
  pending = [bytes.subarray(PART_BYTES)]
  pendingBytes = pending[0]!.length
}
if (pendingBytes > 0) await uploadPart(Buffer.concat(pending))
await Promise.all(uploading)
await client.send(
  new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts: parts } }),
)

/** Resolves when there is room for another part. */
async function uploadPart(body: Buffer): Promise<void> {
  const number = parts.push({})
  const upload = client
    .send(new UploadPartCommand({ ...target, UploadId, PartNumber: number, Body: body }))
    .then(({ ETag }) => {
      parts[number - 1] = { PartNumber: number, ...(ETag ? { ETag } : {}) }
      uploading.delete(upload)
    })
  uploading.add(upload)
  if (uploading.size >= PARTS_AT_ONCE) await Promise.race(uploading)
}
