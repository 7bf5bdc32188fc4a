import { S3Error } from "./s3-error.ts"
import { parseQuery, percentDecode, splitTarget } from "./uri.ts"

/** The S3 operations that the server knows, by their API names. `Unknown` stands for all that it refuses. */
export type OperationName =
  | "ListBuckets"
  | "CreateBucket"
  | "HeadBucket"
  | "DeleteBucket"
  | "GetBucketLocation"
  | "ListObjects"
  | "ListObjectsV2"
  | "DeleteObjects"
  | "PutObject"
  | "CopyObject"
  | "GetObject"
  | "HeadObject"
  | "DeleteObject"
  | "CreateMultipartUpload"
  | "UploadPart"
  | "UploadPartCopy"
  | "ListParts"
  | "ListMultipartUploads"
  | "CompleteMultipartUpload"
  | "AbortMultipartUpload"
  | "RestoreObject"
  | "Unknown"

export interface Target {
  readonly bucket: string
  readonly key: string
  readonly query: ReadonlyMap<string, string>
}

export interface Route {
  readonly operation: OperationName
  /** Why no operation was found. Thrown after the signature check, as S3 does. */
  readonly refusal?: S3Error
}

const MAX_KEY_BYTES = 1024

/** Sub-resources and parameters that S3 acts on and this server lacks. Any other unknown parameter is ignored, as by S3. */
const NOT_IMPLEMENTED = new Set(
  [
    "accelerate acl analytics attributes cors encryption intelligent-tiering inventory legal-hold lifecycle logging",
    "metadataConfiguration metadataTable metrics notification object-lock ownershipControls policy policyStatus",
    "publicAccessBlock renameObject replication requestPayment retention select session tagging torrent",
    "versionId versioning versions website max-buckets",
  ].flatMap((line) => line.split(" ")),
)

/** The bucket and key of a request: path-style, or virtual-host-style if the host is `<bucket>.<one of domains>`. */
export function readTarget(requestTarget: string, host: string, domains: readonly string[]): Target {
  const { rawPath, rawQuery } = splitTarget(requestTarget)
  const hostName = host.replace(/:\d+$/, "").toLowerCase()
  const domain = domains.find((name) => hostName.endsWith(`.${name}`))
  const path = rawPath.replace(/^\//, "")
  const cut = path.indexOf("/")
  const [rawBucket, rawKey] =
    domain !== undefined
      ? [hostName.slice(0, -domain.length - 1), path]
      : cut < 0
        ? [path, ""]
        : [path.slice(0, cut), path.slice(cut + 1)]
  return {
    bucket: percentDecode(rawBucket),
    key: percentDecode(rawKey),
    query: new Map(parseQuery(rawQuery)),
  }
}

/** Finds a request's operation by its method, its target and the sub-resource in its query. */
export function findOperation(method: string, target: Target, isCopy: boolean): Route {
  const { bucket, key, query } = target
  const unsupported = [...query.keys()].find((name) => NOT_IMPLEMENTED.has(name))
  if (unsupported !== undefined || (query.has("partNumber") && !query.has("uploadId")))
    return refuse(new S3Error("NotImplemented", undefined, { ParameterName: unsupported ?? "partNumber" }))
  if (Buffer.byteLength(key) > MAX_KEY_BYTES)
    return refuse(
      new S3Error("KeyTooLongError", undefined, {
        Size: Buffer.byteLength(key),
        MaxSizeAllowed: MAX_KEY_BYTES,
      }),
    )
  const operation =
    bucket === ""
      ? method === "GET" && "ListBuckets"
      : key === ""
        ? bucketOperation(method, query)
        : objectOperation(method, query, isCopy)
  return operation ? { operation } : refuse(new S3Error("MethodNotAllowed", undefined, { Method: method }))
}

const refuse = (refusal: S3Error): Route => ({ operation: "Unknown", refusal })

function bucketOperation(method: string, query: ReadonlyMap<string, string>): OperationName | false {
  switch (method) {
    case "GET":
      if (query.has("location")) return "GetBucketLocation"
      if (query.has("uploads")) return "ListMultipartUploads"
      return query.get("list-type") === "2" ? "ListObjectsV2" : "ListObjects"
    case "PUT":
      return "CreateBucket"
    case "HEAD":
      return "HeadBucket"
    case "DELETE":
      return "DeleteBucket"
    case "POST":
      return query.has("delete") && "DeleteObjects"
  }
  return false
}

function objectOperation(
  method: string,
  query: ReadonlyMap<string, string>,
  isCopy: boolean,
): OperationName | false {
  const ofUpload = query.has("uploadId")
  switch (method) {
    case "GET":
      return ofUpload ? "ListParts" : "GetObject"
    case "HEAD":
      return "HeadObject"
    case "PUT":
      if (ofUpload) return isCopy ? "UploadPartCopy" : "UploadPart"
      return isCopy ? "CopyObject" : "PutObject"
    case "DELETE":
      return ofUpload ? "AbortMultipartUpload" : "DeleteObject"
    case "POST":
      if (query.has("uploads")) return "CreateMultipartUpload"
      if (query.has("restore")) return "RestoreObject"
      return ofUpload && "CompleteMultipartUpload"
  }
  return false
}
