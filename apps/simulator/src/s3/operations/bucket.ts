import { announcedChecksum, receiveText } from "../body/payload.ts"
import type { Reply, S3Request, ServerState } from "../http/handler.ts"
import { S3Error } from "../http/s3-error.ts"
import { element, optional, parseDocument, xmlDocument } from "../http/xml.ts"
import { unquote } from "../storage/uploads.ts"

const MAX_DELETED_KEYS = 1000
/** The server's only account, which owns everything. */
export const OWNER = [element("ID", "unseal"), element("DisplayName", "unseal")]

export function listBuckets({ query }: S3Request, { store }: ServerState): Reply {
  const prefix = query.get("prefix") ?? ""
  const buckets = [...store.buckets.values()]
    .filter((bucket) => bucket.name.startsWith(prefix))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((bucket) =>
      element("Bucket", [
        element("Name", bucket.name),
        element("CreationDate", bucket.createdAt.toISOString()),
      ]),
    )
  return {
    status: 200,
    xml: xmlDocument("ListAllMyBucketsResult", [
      element("Owner", OWNER),
      element("Buckets", buckets),
      optional("Prefix", query.get("prefix")),
    ]),
  }
}

export async function createBucket(request: S3Request, { store, region }: ServerState): Promise<Reply> {
  const { bucket, headers } = request
  const text =
    Number(headers["content-length"] ?? 0) > 0 ? await receiveText(request, announcedChecksum(request)) : ""
  const { LocationConstraint: location = region } =
    text === "" ? {} : parseDocument(text, "CreateBucketConfiguration")
  if (location !== region)
    throw new S3Error(
      "IllegalLocationConstraintException",
      `The ${String(location)} location constraint is incompatible for the region specific endpoint this request was sent to.`,
    )
  // In us-east-1, S3 answers a repeated request like the first.
  if (!store.buckets.has(bucket)) store.createBucket(bucket)
  else if (region !== "us-east-1")
    throw new S3Error("BucketAlreadyOwnedByYou", undefined, { BucketName: bucket })
  return { status: 200, headers: { location: `/${bucket}` } }
}

export function headBucket({ bucket }: S3Request, { store, region }: ServerState): Reply {
  store.bucket(bucket)
  return { status: 200, headers: { "x-amz-bucket-region": region } }
}

export function getBucketLocation({ bucket }: S3Request, { store, region }: ServerState): Reply {
  store.bucket(bucket)
  const document = xmlDocument("LocationConstraint", [region === "us-east-1" ? "" : region])
  return { status: 200, xml: document }
}

export async function deleteBucket({ bucket }: S3Request, { store, uploads }: ServerState): Promise<Reply> {
  if (store.bucket(bucket).objects.size > 0)
    throw new S3Error("BucketNotEmpty", undefined, { BucketName: bucket })
  store.buckets.delete(bucket)
  for (const upload of uploads.list(bucket)) await uploads.end(upload)
  return { status: 204 }
}

export async function deleteObjects(request: S3Request, { store }: ServerState): Promise<Reply> {
  const { bucket, headers } = request
  const announced = announcedChecksum(request)
  if (!announced && headers["content-md5"] === undefined)
    throw new S3Error(
      "InvalidRequest",
      "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
    )
  const objects = store.bucket(bucket).objects
  const { named, quiet } = readDeletion(await receiveText(request, announced))
  const results: string[] = []
  for (const { key, etag } of named) {
    const current = objects.get(key)
    if (etag !== undefined && (!current || unquote(current.etag) !== unquote(etag))) {
      const { code, message } = new S3Error("PreconditionFailed")
      results.push(
        element("Error", [element("Key", key), element("Code", code), element("Message", message)]),
      )
      continue
    }
    await store.delete(bucket, key)
    if (!quiet) results.push(element("Deleted", [element("Key", key)]))
  }
  return { status: 200, xml: xmlDocument("DeleteResult", results) }
}

function readDeletion(text: string): { named: { key: string; etag?: string }[]; quiet: boolean } {
  const { Object: objects, Quiet: quiet } = parseDocument(text, "Delete")
  if (!Array.isArray(objects) || objects.length > MAX_DELETED_KEYS) throw new S3Error("MalformedXML")
  const named = objects.map(({ Key: key, ETag: etag, VersionId: version }: Record<string, unknown>) => {
    if (typeof key !== "string" || key === "") throw new S3Error("MalformedXML")
    if (version !== undefined) throw new S3Error("NotImplemented", undefined, { ParameterName: "VersionId" })
    return { key, ...(typeof etag === "string" && { etag }) }
  })
  return { named, quiet: quiet === "true" }
}
