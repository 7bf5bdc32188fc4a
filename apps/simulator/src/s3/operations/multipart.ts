import { ALGORITHMS, type ChecksumAlgorithm, type ChecksumType, checksumHeader } from "../body/checksums.ts"
import {
  announcedChecksum,
  type ReceivedFile,
  readChecksumAlgorithm,
  receiveFile,
  receiveText,
} from "../body/payload.ts"
import type { Reply, S3Request, ServerState } from "../http/handler.ts"
import { S3Error } from "../http/s3-error.ts"
import { encodeRfc3986 } from "../http/uri.ts"
import { element, optional, parseDocument, xmlDocument } from "../http/xml.ts"
import { type ObjectVersion, randomEtag } from "../storage/object-store.ts"
import {
  assemble,
  chooseParts,
  MAX_PART_NUMBER,
  type NamedPart,
  type Upload,
  type UploadedPart,
} from "../storage/uploads.ts"
import { checkWritable } from "./conditions.ts"
import { encryption } from "./object.ts"
import { objectHeaders } from "./object-headers.ts"

export function createMultipartUpload(request: S3Request, { store, uploads }: ServerState): Reply {
  const { bucket, key, headers } = request
  store.bucket(bucket)
  const checksum = readChecksumMode(headers)
  const upload = uploads.begin({
    bucket,
    key,
    headers: objectHeaders(headers),
    ...(checksum && { checksum }),
  })
  return {
    status: 200,
    headers: {
      ...(checksum && {
        "x-amz-checksum-algorithm": checksum.algorithm,
        "x-amz-checksum-type": checksum.type,
      }),
      ...encryption(upload),
    },
    xml: xmlDocument("InitiateMultipartUploadResult", [
      element("Bucket", bucket),
      element("Key", key),
      element("UploadId", upload.id),
    ]),
  }
}

function readChecksumMode(headers: S3Request["headers"]): Upload["checksum"] {
  const algorithm = headers["x-amz-checksum-algorithm"]
  const type = headers["x-amz-checksum-type"]
  if (algorithm === undefined) {
    if (type === undefined) return undefined
    throw new S3Error(
      "InvalidRequest",
      "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
    )
  }
  const name = readChecksumAlgorithm(String(algorithm))
  const chosen = type === undefined ? (name === "CRC64NVME" ? "FULL_OBJECT" : "COMPOSITE") : String(type)
  const allowed: ChecksumType[] =
    name === "CRC64NVME"
      ? ["FULL_OBJECT"]
      : ALGORITHMS[name].polynomial === undefined
        ? ["COMPOSITE"]
        : ["COMPOSITE", "FULL_OBJECT"]
  const allowedType = allowed.find((candidate) => candidate === chosen)
  if (!allowedType)
    throw new S3Error(
      "InvalidRequest",
      `The ${chosen} checksum type cannot be used with the ${name.toLowerCase()} checksum algorithm.`,
    )
  return { algorithm: name, type: allowedType }
}

/** The open upload that the request names, and its part number. */
export function readPartTarget(
  { bucket, key, query }: S3Request,
  { store, uploads }: ServerState,
): { upload: Upload; number: number } {
  const text = query.get("partNumber") ?? ""
  const number = Number(text)
  if (!/^\d{1,5}$/.test(text) || number < 1 || number > MAX_PART_NUMBER)
    throw new S3Error(
      "InvalidArgument",
      `Part number must be an integer between 1 and ${MAX_PART_NUMBER}, inclusive`,
      { ArgumentName: "partNumber", ArgumentValue: text },
    )
  store.bucket(bucket)
  return { upload: uploads.open(bucket, key, query.get("uploadId") ?? ""), number }
}

export async function uploadPart(request: S3Request, state: ServerState): Promise<Reply> {
  const { upload, number } = readPartTarget(request, state)
  const announced = announcedChecksum(request)
  if (announced && announced.algorithm !== upload.checksum?.algorithm)
    throw new S3Error(
      "InvalidRequest",
      `Checksum Type mismatch occurred, expected checksum Type: ${upload.checksum?.algorithm.toLowerCase() ?? "null"}, actual checksum Type: ${announced.algorithm.toLowerCase()}`,
    )
  const received = await receiveFile(request, state.files, announced, {
    md5: state.etags === "md5",
    checksum: upload.checksum?.algorithm,
  })
  const part = await addPart(upload, number, received, state)
  return {
    status: 200,
    headers: { etag: part.etag, ...partChecksum(upload, part), ...encryption(upload) },
  }
}

export async function addPart(
  upload: Upload,
  number: number,
  received: ReceivedFile,
  { uploads, etags }: ServerState,
): Promise<UploadedPart> {
  const part = {
    ...received,
    number,
    etag: etags !== "md5" ? randomEtag(etags) : `"${received.md5!.toString("hex")}"`,
    lastModified: new Date(),
  }
  await uploads.add(upload, part)
  return part
}

const partChecksum = (upload: Upload, part: UploadedPart): Record<string, string> =>
  upload.checksum && part.checksum
    ? { [checksumHeader(upload.checksum.algorithm)]: part.checksum.toString("base64") }
    : {}

export async function completeMultipartUpload(request: S3Request, state: ServerState): Promise<Reply> {
  const { bucket, key, query, headers } = request
  const { store, uploads, etags, completed } = state
  const id = query.get("uploadId") ?? ""
  store.bucket(bucket)
  const before = completed?.get(`${bucket}/${key}/${id}`)
  const named = readNamedParts(await receiveText(request))
  if (before) return before

  // Nothing is awaited from here until the object is replaced, so the second of two completions finds the upload gone.
  const upload = uploads.open(bucket, key, id)
  const parts = chooseParts(upload, named)
  const version = assemble(upload, parts, etags)
  checkAnnounced(headers, version)
  checkWritable(request, key, store.bucket(bucket).objects.get(key))
  const ended = uploads.end(upload, parts)
  const visible = store.put(bucket, version)
  const reply = completedReply(request, version)
  completed?.set(`${bucket}/${key}/${id}`, reply)
  await Promise.all([ended, visible])
  return reply
}

function readNamedParts(text: string): NamedPart[] {
  const { Part: parts } = parseDocument(text, "CompleteMultipartUpload")
  if (!Array.isArray(parts) || parts.length > MAX_PART_NUMBER) throw new S3Error("MalformedXML")
  return parts.map((part: Record<string, unknown>) => {
    const { PartNumber: number, ETag: etag } = part
    if (typeof number !== "string" || !/^\s*\d+\s*$/.test(number) || typeof etag !== "string")
      throw new S3Error("MalformedXML")
    const checksums = Object.keys(ALGORITHMS).flatMap((algorithm) => {
      const value = part[`Checksum${algorithm}`]
      return typeof value === "string" ? [[algorithm, value.trim()]] : []
    })
    return { number: Number(number), etag: etag.trim(), checksums: Object.fromEntries(checksums) }
  })
}

/** Checks the whole object's size and checksum if Complete announces them. */
function checkAnnounced(headers: S3Request["headers"], version: ObjectVersion): void {
  const size = headers["x-amz-mp-object-size"]
  if (size !== undefined && String(size) !== String(version.size))
    throw new S3Error(
      "InvalidRequest",
      `The provided 'x-amz-mp-object-size' header value ${size} does not match what was computed: ${version.size}`,
    )
  const type = headers["x-amz-checksum-type"]
  if (type !== undefined && type !== version.checksum?.type)
    throw new S3Error("InvalidRequest", `The upload was not created with the ${type} checksum type.`)
  for (const algorithm of Object.keys(ALGORITHMS) as ChecksumAlgorithm[]) {
    const value = headers[checksumHeader(algorithm)]
    if (value === undefined) continue
    if (version.checksum?.algorithm !== algorithm)
      throw new S3Error(
        "InvalidRequest",
        `The upload was not created with the ${algorithm} checksum algorithm.`,
      )
    if (String(value) !== version.checksum.value)
      throw new S3Error("BadDigest", `The ${algorithm} you specified did not match the calculated checksum.`)
  }
}

function completedReply({ bucket, key, headers }: S3Request, version: ObjectVersion): Reply {
  const { checksum } = version
  return {
    status: 200,
    headers: encryption(version),
    xml: xmlDocument("CompleteMultipartUploadResult", [
      element(
        "Location",
        `http://${headers.host}/${[bucket, ...key.split("/")].map(encodeRfc3986).join("/")}`,
      ),
      element("Bucket", bucket),
      element("Key", key),
      element("ETag", version.etag),
      checksum && element(`Checksum${checksum.algorithm}`, checksum.value),
      optional("ChecksumType", checksum?.type),
    ]),
  }
}

export async function abortMultipartUpload(
  { bucket, key, query }: S3Request,
  { store, uploads }: ServerState,
): Promise<Reply> {
  store.bucket(bucket)
  await uploads.end(uploads.open(bucket, key, query.get("uploadId") ?? ""))
  return { status: 204 }
}
