/**
 * Peer d: what an engineer writes with the AWS SDK in an afternoon. The body of one GetObject goes through createDecipheriv into
 * lib-storage's `Upload`, in parts of 8 MiB and four at once.
 *
 * usage: peer-d.ts BUCKET KEY; writes to the same key of `decrypted`.
 */
import { createDecipheriv } from "node:crypto"
import type { Readable } from "node:stream"
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3"
import { Upload } from "@aws-sdk/lib-storage"

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
const upload = new Upload({
  client,
  params: { Bucket: "decrypted", Key: key, Body: (Body as Readable).pipe(decipher) },
  partSize: 8 * 1024 * 1024,
  queueSize: 4,
})
await upload.done()
