import { createHash } from "node:crypto"
import { ALGORITHMS, type ChecksumAlgorithm } from "../body/checksums.ts"
import { type ReceivedFile, readChecksumAlgorithm, type Wanted } from "../body/payload.ts"
import type { Reply, S3Request, ServerState } from "../http/handler.ts"
import { S3Error } from "../http/s3-error.ts"
import { percentDecode } from "../http/uri.ts"
import { element, xmlDocument } from "../http/xml.ts"
import type { Span } from "../storage/object-files.ts"
import type { ObjectVersion } from "../storage/object-store.ts"
import { checkCopyable, checkWritable } from "./conditions.ts"
import { addPart, readPartTarget } from "./multipart.ts"
import { commit, encryption, newVersion } from "./object.ts"
import { objectHeaders } from "./object-headers.ts"

const MAX_COPY_BYTES = 5 * 1024 ** 3

export async function copyObject(request: S3Request, state: ServerState): Promise<Reply> {
  const { bucket, key, headers } = request
  const source = readSource(request, state)
  const directive = headers["x-amz-metadata-directive"] ?? "COPY"
  if (directive !== "COPY" && directive !== "REPLACE")
    throw new S3Error("InvalidArgument", "Unknown metadata directive.", {
      ArgumentName: "x-amz-metadata-directive",
      ArgumentValue: String(directive),
    })
  const isSame = source.bucket === bucket && source.version.key === key
  if (isSame && directive === "COPY" && headers["x-amz-storage-class"] === undefined)
    throw new S3Error(
      "InvalidRequest",
      "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
    )
  const kept = directive === "REPLACE" ? objectHeaders(headers) : copiedHeaders(source.version, headers)
  checkWritable(request, key, state.store.bucket(bucket).objects.get(key))
  const wanted = headers["x-amz-checksum-algorithm"]
  const algorithm =
    wanted === undefined ? source.version.checksum?.algorithm : readChecksumAlgorithm(String(wanted))
  const copied = await copyBytes(source.version, { start: 0, end: source.version.size }, state, {
    md5: state.etags === "md5",
    checksum: algorithm,
  })
  const version = newVersion(key, kept, copied, algorithm, state)
  await commit(request, state, version)
  return {
    status: 200,
    headers: encryption(version),
    xml: copyResult("CopyObjectResult", version.etag, version.lastModified, algorithm, copied),
  }
}

export async function uploadPartCopy(request: S3Request, state: ServerState): Promise<Reply> {
  const { upload, number } = readPartTarget(request, state)
  const { version } = readSource(request, state)
  const algorithm = upload.checksum?.algorithm
  const copied = await copyBytes(version, readCopyRange(request, version.size), state, {
    md5: state.etags === "md5",
    checksum: algorithm,
  })
  const part = await addPart(upload, number, copied, state)
  return { status: 200, xml: copyResult("CopyPartResult", part.etag, part.lastModified, algorithm, copied) }
}

/** The class is not copied: without a header, the copy is in STANDARD. */
function copiedHeaders({ headers }: ObjectVersion, asked: S3Request["headers"]): Record<string, string> {
  const { "x-amz-storage-class": _, ...rest } = headers
  const { "x-amz-storage-class": storageClass } = objectHeaders(asked)
  return storageClass === undefined ? rest : { ...rest, "x-amz-storage-class": storageClass }
}

/** The object that `x-amz-copy-source` names. Throws if its conditions don't hold. */
function readSource(
  { headers }: S3Request,
  { store, archives }: ServerState,
): { bucket: string; version: ObjectVersion } {
  const text = String(headers["x-amz-copy-source"])
  const match = /^\/?([^/?]+)\/([^?]+)(\?.*)?$/.exec(text)
  if (!match)
    throw new S3Error(
      "InvalidArgument",
      "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
      {
        ArgumentName: "x-amz-copy-source",
        ArgumentValue: text,
      },
    )
  if (match[3]) throw new S3Error("NotImplemented", undefined, { Header: "x-amz-copy-source" })
  const bucket = percentDecode(match[1]!)
  const version = store.object(bucket, percentDecode(match[2]!))
  checkCopyable(headers, version)
  if (!["readable", "restored"].includes(archives.stateOf(version)))
    throw new S3Error("ObjectNotInActiveTierError")
  return { bucket, version }
}

/** Unlike `Range`, it must name both ends and lie within the object. */
function readCopyRange({ headers }: S3Request, size: number): Span {
  const text = headers["x-amz-copy-source-range"]
  if (text === undefined) return { start: 0, end: size }
  const match = /^bytes=(\d+)-(\d+)$/.exec(String(text))
  const span = { start: Number(match?.[1]), end: Number(match?.[2]) + 1 }
  if (!match || span.start >= span.end || span.end > size)
    throw new S3Error("InvalidArgument", `Range specified is not valid for source object of size: ${size}`, {
      ArgumentName: "x-amz-copy-source-range",
      ArgumentValue: String(text),
    })
  return span
}

async function copyBytes(
  version: ObjectVersion,
  span: Span,
  { store, files }: ServerState,
  wanted: Wanted,
): Promise<ReceivedFile> {
  if (span.end - span.start > MAX_COPY_BYTES)
    throw new S3Error(
      "InvalidRequest",
      `The specified copy source is larger than the maximum allowable size for a copy source: ${MAX_COPY_BYTES}`,
    )
  const md5 = wanted.md5 ? createHash("md5") : undefined
  const checksum = wanted.checksum && ALGORITHMS[wanted.checksum].start()
  async function* copied(): AsyncGenerator<Buffer> {
    for await (const chunk of files.read(version.files, span)) {
      md5?.update(chunk)
      checksum?.update(chunk)
      // A chunk is valid only until the next one is read, but the write may hold it longer.
      yield Buffer.from(chunk)
    }
  }
  const release = store.retain(version)
  try {
    const file = await files.write(copied())
    return { file, ...(md5 && { md5: md5.digest() }), ...(checksum && { checksum: checksum.digest() }) }
  } finally {
    await release()
  }
}

function copyResult(
  name: string,
  etag: string,
  lastModified: Date,
  algorithm: ChecksumAlgorithm | undefined,
  { checksum }: ReceivedFile,
): string {
  return xmlDocument(name, [
    element("LastModified", lastModified.toISOString()),
    element("ETag", etag),
    algorithm && checksum && element(`Checksum${algorithm}`, checksum.toString("base64")),
  ])
}
