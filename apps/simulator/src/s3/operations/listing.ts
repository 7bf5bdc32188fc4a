import type { Reply, S3Request, ServerState } from "../http/handler.ts"
import { S3Error } from "../http/s3-error.ts"
import { element, optional, xmlDocument } from "../http/xml.ts"
import type { Archives } from "../storage/archival.ts"
import { compareKeys } from "../storage/key-index.ts"
import { type Page, readEncoding, readLimit, selectPage } from "../storage/listing.ts"
import type { Bucket } from "../storage/object-store.ts"
import { OWNER } from "./bucket.ts"

/** Selects a page for both versions of the object listing. The page begins after `after`. */
function listObjectsPage(
  { query, bucket: name }: S3Request,
  { store, archives }: ServerState,
  after: string,
  withOwner: boolean,
) {
  const bucket = store.bucket(name)
  const encode = readEncoding(query)
  const prefix = query.get("prefix") ?? ""
  const delimiter = query.get("delimiter") ?? ""
  const limit = readLimit(query, "max-keys")
  const page = selectPage(bucket.keys, { prefix, delimiter, after, limit })
  const elements = [
    element("Name", bucket.name),
    element("Prefix", encode(prefix)),
    delimiter === "" ? undefined : element("Delimiter", encode(delimiter)),
    element("MaxKeys", limit),
    optional("EncodingType", query.get("encoding-type")),
    element("IsTruncated", page.next !== undefined),
    ...contents(bucket, page, encode, withOwner, archives),
    ...page.commonPrefixes.map((common) => element("CommonPrefixes", [element("Prefix", encode(common))])),
  ]
  return { encode, delimiter, page, elements }
}

function contents(
  bucket: Bucket,
  page: Page,
  encode: (key: string) => string,
  withOwner: boolean,
  archives: Archives,
): string[] {
  return page.keys.map((key) => {
    const version = bucket.objects.get(key)!
    const { lastModified, etag, size, checksum, headers } = version
    const [archivalClass] = archives.classOf(version)?.split(" ") ?? []
    return element("Contents", [
      element("Key", encode(key)),
      element("LastModified", lastModified.toISOString()),
      element("ETag", etag),
      optional("ChecksumAlgorithm", checksum?.algorithm),
      optional("ChecksumType", checksum?.type),
      element("Size", size),
      element("StorageClass", archivalClass ?? headers["x-amz-storage-class"] ?? "STANDARD"),
      withOwner ? element("Owner", OWNER) : undefined,
    ])
  })
}

export function listObjectsV2(request: S3Request, state: ServerState): Reply {
  const { query } = request
  const token = query.get("continuation-token")
  const startAfter = query.get("start-after")
  const after = token === undefined ? (startAfter ?? "") : readContinuation(token)
  const withOwner = query.get("fetch-owner") === "true"
  const listed = listObjectsPage(request, state, after, withOwner)
  const { page, encode, elements } = listed
  return {
    status: 200,
    xml: xmlDocument("ListBucketResult", [
      ...elements,
      element("KeyCount", page.keys.length + page.commonPrefixes.length),
      optional("ContinuationToken", token),
      optional("NextContinuationToken", page.next && writeContinuation(page.next)),
      startAfter === undefined ? undefined : element("StartAfter", encode(startAfter)),
    ]),
  }
}

const writeContinuation = (after: string): string => `1${Buffer.from(after).toString("base64url")}`

function readContinuation(token: string): string {
  const after = Buffer.from(token.slice(1), "base64url").toString()
  if (after === "" || writeContinuation(after) !== token)
    throw new S3Error("InvalidArgument", "The continuation token provided is incorrect", {
      ArgumentName: "continuation-token",
    })
  return after
}

/** The first version of the listing, which older clients use. */
export function listObjects(request: S3Request, state: ServerState): Reply {
  const marker = request.query.get("marker") ?? ""
  const listed = listObjectsPage(request, state, marker, true)
  const { page, encode, delimiter, elements } = listed
  return {
    status: 200,
    xml: xmlDocument("ListBucketResult", [
      ...elements,
      element("Marker", encode(marker)),
      // Without a delimiter, the client continues from the last key it received.
      page.next === undefined || delimiter === "" ? undefined : element("NextMarker", encode(page.next)),
    ]),
  }
}

export function listParts({ bucket, key, query }: S3Request, { store, uploads }: ServerState): Reply {
  store.bucket(bucket)
  const upload = uploads.open(bucket, key, query.get("uploadId") ?? "")
  const limit = readLimit(query, "max-parts")
  const marker = readLimitless(query, "part-number-marker")
  const rest = [...upload.parts.values()]
    .filter((part) => part.number > marker)
    .sort((a, b) => a.number - b.number)
  const page = rest.slice(0, limit)
  return {
    status: 200,
    xml: xmlDocument("ListPartsResult", [
      element("Bucket", bucket),
      element("Key", readEncoding(query)(key)),
      element("UploadId", upload.id),
      element("Initiator", OWNER),
      element("Owner", OWNER),
      element("StorageClass", "STANDARD"),
      optional("ChecksumAlgorithm", upload.checksum?.algorithm),
      optional("ChecksumType", upload.checksum?.type),
      element("PartNumberMarker", marker),
      optional("NextPartNumberMarker", page.at(-1)?.number),
      element("MaxParts", limit),
      element("IsTruncated", page.length < rest.length),
      ...page.map((part) =>
        element("Part", [
          element("PartNumber", part.number),
          element("LastModified", part.lastModified.toISOString()),
          element("ETag", part.etag),
          element("Size", part.file.size),
          upload.checksum &&
            part.checksum &&
            element(`Checksum${upload.checksum.algorithm}`, part.checksum.toString("base64")),
        ]),
      ),
    ]),
  }
}

function readLimitless(query: ReadonlyMap<string, string>, name: string): number {
  const text = query.get(name) ?? "0"
  if (!/^\d{1,10}$/.test(text))
    throw new S3Error("InvalidArgument", `Provided ${name} not an integer or within integer range`, {
      ArgumentName: name,
      ArgumentValue: text,
    })
  return Number(text)
}

export function listMultipartUploads({ bucket, query }: S3Request, { store, uploads }: ServerState): Reply {
  store.bucket(bucket)
  if (query.get("delimiter")) throw new S3Error("NotImplemented", undefined, { ParameterName: "delimiter" })
  const encode = readEncoding(query)
  const prefix = query.get("prefix") ?? ""
  const limit = readLimit(query, "max-uploads")
  const keyMarker = query.get("key-marker") ?? ""
  // S3 ignores upload-id-marker without key-marker.
  const idMarker = keyMarker === "" ? "" : (query.get("upload-id-marker") ?? "")
  const rest = uploads.list(bucket).filter((upload) => {
    if (!upload.key.startsWith(prefix)) return false
    const order = compareKeys(upload.key, keyMarker)
    return order > 0 || (order === 0 && idMarker !== "" && compareKeys(upload.id, idMarker) > 0)
  })
  const page = rest.slice(0, limit)
  const last = page.length < rest.length ? page.at(-1) : undefined
  return {
    status: 200,
    xml: xmlDocument("ListMultipartUploadsResult", [
      element("Bucket", bucket),
      element("KeyMarker", encode(keyMarker)),
      element("UploadIdMarker", idMarker),
      last && element("NextKeyMarker", encode(last.key)),
      optional("NextUploadIdMarker", last?.id),
      element("Prefix", encode(prefix)),
      optional("EncodingType", query.get("encoding-type")),
      element("MaxUploads", limit),
      element("IsTruncated", page.length < rest.length),
      ...page.map((upload) =>
        element("Upload", [
          element("Key", encode(upload.key)),
          element("UploadId", upload.id),
          element("Initiator", OWNER),
          element("Owner", OWNER),
          element("StorageClass", "STANDARD"),
          element("Initiated", upload.initiated.toISOString()),
          optional("ChecksumAlgorithm", upload.checksum?.algorithm),
          optional("ChecksumType", upload.checksum?.type),
        ]),
      ),
    ]),
  }
}
