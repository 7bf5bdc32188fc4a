/** How stores treat checksums, conditions and parts. */
import { ALGORITHMS } from "../body/checksums.ts"
import type { Reply, S3Request, ServerState } from "../http/handler.ts"
import { S3Error } from "../http/s3-error.ts"
import type { ArrivingRequest, QuirkRow } from "./hooks.ts"

const CHECKSUM_HEADERS = Object.keys(ALGORITHMS).map((name) => `x-amz-checksum-${name.toLowerCase()}`)
const checksumHeaderIn = ({ headers }: ArrivingRequest): string | undefined =>
  [...CHECKSUM_HEADERS, "x-amz-checksum-algorithm", "x-amz-sdk-checksum-algorithm", "x-amz-trailer"].find(
    (name) => headers[name] !== undefined,
  )

const hasBody = ({ operation }: ArrivingRequest): boolean =>
  operation === "PutObject" || operation === "UploadPart"
const writesWithCondition = ({ operation, headers }: ArrivingRequest): boolean =>
  (operation === "PutObject" || operation === "CompleteMultipartUpload") &&
  headers["if-none-match"] !== undefined

/** A header is refused before the body is read. */
const refuseChecksums = (refuse: (header: string) => S3Error) => () => ({
  before(request: S3Request): undefined {
    const header = checksumHeaderIn(request)
    if (header !== undefined) throw refuse(header)
  },
})

const refuseConditions = (refuse: () => S3Error) => () => ({
  before(request: S3Request): undefined {
    if (writesWithCondition(request)) throw refuse()
  },
})

/** Truncates the stored object to `keep` bytes. */
async function spoil({ bucket, key }: S3Request, state: ServerState, keep: number): Promise<void> {
  const version = state.store.object(bucket, key)
  const files = version.files.slice(0, keep)
  const size = files.reduce((sum, file) => sum + file.size, 0)
  if (keep === 0) await state.store.delete(bucket, key)
  // The dropped bytes are removed with the server's directory.
  else state.store.bucket(bucket).objects.set(key, { ...version, files, size })
}

const afterComplete = (keep: number) => () => ({
  async reply(reply: Reply, request: S3Request, state: ServerState): Promise<Reply> {
    if (request.operation === "CompleteMultipartUpload" && reply.status === 200)
      await spoil(request, state, keep)
    return reply
  },
})

export const BODY_QUIRKS = {
  "no-checksum-501": {
    meaning: "answers 501 NotImplemented to every request with a checksum header",
    create: refuseChecksums((header) => new S3Error("NotImplemented", undefined, { Header: header })),
  },
  "no-checksum-400": {
    meaning: "answers 400 InvalidArgument to every request with a checksum header",
    create: refuseChecksums(
      (header) =>
        new S3Error("InvalidArgument", `Unsupported header '${header}' received for this API call.`),
    ),
  },
  "checksums-ignored": {
    meaning: "accepts checksum headers, verifies nothing, and returns none",
    create: () => ({
      arrive(request): void {
        for (let name = checksumHeaderIn(request); name !== undefined; name = checksumHeaderIn(request))
          delete request.headers[name]
      },
    }),
  },
  "object-lock": {
    meaning: "refuses a PUT that has neither a Content-MD5 nor a checksum header",
    create: () => ({
      before(request): undefined {
        if (!hasBody(request) || request.headers["content-md5"] !== undefined) return
        if (!CHECKSUM_HEADERS.some((name) => request.headers[name] !== undefined))
          throw new S3Error(
            "InvalidRequest",
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters",
          )
      },
    }),
  },
  "no-conditions-501": {
    meaning: "answers 501 NotImplemented to a write with a condition",
    create: refuseConditions(() => new S3Error("NotImplemented", undefined, { Header: "If-None-Match" })),
  },
  "no-conditions-400": {
    meaning: "answers 400 InvalidArgument to a write with a condition",
    create: refuseConditions(
      () => new S3Error("InvalidArgument", "Unsupported header 'if-none-match' received for this API call."),
    ),
  },
  "conditions-ignored": {
    meaning: "ignores the conditions of a write",
    create: () => ({ action: { ignoreConditions: true } }),
  },
  "complete-412-checksums": {
    meaning: "answers 412 PreconditionFailed to a CompleteMultipartUpload that names the parts' checksums",
    create: () => ({
      before({ operation, headers }): undefined {
        // With this type, Complete need not name the checksums.
        if (operation === "CreateMultipartUpload" && headers["x-amz-checksum-algorithm"] !== undefined)
          headers["x-amz-checksum-type"] = "FULL_OBJECT"
      },
      document(text, { operation }) {
        if (operation === "CompleteMultipartUpload" && /<Checksum/.test(text))
          throw new S3Error("PreconditionFailed")
      },
    }),
  },
  "complete-412-condition": {
    meaning: "answers 412 PreconditionFailed to a CompleteMultipartUpload with a condition",
    create: () => ({
      before(request): undefined {
        if (request.operation === "CompleteMultipartUpload" && writesWithCondition(request))
          throw new S3Error("PreconditionFailed")
      },
    }),
  },
  "equal-parts": {
    meaning: "completes an upload only if all its parts but the last have the same size",
    create: () => ({
      before({ operation, bucket, key, query }, { uploads }): undefined {
        if (operation !== "CompleteMultipartUpload") return
        const parts = [...uploads.open(bucket, key, query.get("uploadId") ?? "").parts.values()]
        const sizes = parts.sort((a, b) => a.number - b.number).map((part) => part.file.size)
        if (new Set(sizes.slice(0, -1)).size > 1)
          throw new S3Error("InvalidPart", "All non-trailing parts must have the same length.")
      },
    }),
  },
  "complete-lost": {
    meaning: "answers a CompleteMultipartUpload with 200 and an ETag, but creates no object",
    create: afterComplete(0),
  },
  "complete-short": {
    meaning:
      "answers a CompleteMultipartUpload with 200 and an ETag, but creates an object of the first part alone",
    create: afterComplete(1),
  },
} as const satisfies Record<string, QuirkRow>
