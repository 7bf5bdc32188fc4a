/** What a server does that not every S3 does, asked by signed requests: the facts behind the table in docs/compatibility.md. */
import { crc32 } from "node:zlib"
import { sampleBytes } from "../conformance/suite/bytes.ts"
import { ask, createBucket, type ForeignS3, PART } from "./foreign-store.ts"

export interface Abilities {
  /** PutObject with `If-None-Match: *` over an object: `refuses` with 412, or replaces it. */
  readonly conditionalPut: string
  /** The same of CompleteMultipartUpload. */
  readonly conditionalComplete: string
  /** UploadPart with a wrong CRC-32 header: the status, or `ignored`. */
  readonly wrongChecksum: string
  /** Whether UploadPart answers with the CRC-32. */
  readonly echoesChecksum: boolean
  /** CompleteMultipartUpload once more, after it succeeded. */
  readonly repeatedComplete: number
}

export async function probeAbilities(server: ForeignS3): Promise<Abilities> {
  const bucket = "abilities"
  await createBucket(server, bucket)
  const path = `/${bucket}/object`
  const never = { "if-none-match": "*" }
  const body = Buffer.from(sampleBytes("abilities", PART))
  const checksum = (sum: number) => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(sum >>> 0)
    return { "x-amz-checksum-crc32": bytes.toString("base64") }
  }
  const outcome = (status: number, done: string) => (status < 300 ? done : `refuses with ${status}`)

  await ask(server, { method: "PUT", path, body: body.subarray(0, 16) })
  const put = await ask(server, { method: "PUT", path, headers: never, body: body.subarray(0, 32) })

  const begun = await ask(server, { method: "POST", path, query: { uploads: "" }, body: "" })
  const uploadId = /<UploadId>(.*)<\/UploadId>/.exec(begun.body.toString("utf8"))![1]!
  const part = { method: "PUT", path, query: { partNumber: "1", uploadId }, body }
  const wrong = await ask(server, { ...part, headers: checksum(crc32(body) ^ 1) })
  const right = await ask(server, { ...part, headers: checksum(crc32(body)) })
  const parts = `<Part><PartNumber>1</PartNumber><ETag>${right.headers.etag}</ETag></Part>`
  const complete = {
    ...{ method: "POST", path, query: { uploadId } },
    body: `<CompleteMultipartUpload>${parts}</CompleteMultipartUpload>`,
  }
  const conditional = await ask(server, { ...complete, headers: never })
  if (conditional.status >= 300) await ask(server, complete)
  const repeated = await ask(server, complete)
  return {
    conditionalPut: outcome(put.status, "replaces"),
    conditionalComplete: outcome(conditional.status, "replaces"),
    wrongChecksum: outcome(wrong.status, "ignored"),
    echoesChecksum: right.headers["x-amz-checksum-crc32"] !== undefined,
    repeatedComplete: repeated.status,
  }
}
