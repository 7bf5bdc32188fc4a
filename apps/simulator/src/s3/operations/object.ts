import { type ChecksumAlgorithm, checksumHeader } from "../body/checksums.ts"
import { announcedChecksum, type ReceivedFile, receiveFile } from "../body/payload.ts"
import type { Reply, S3Request, ServerState } from "../http/handler.ts"
import { S3Error } from "../http/s3-error.ts"
import type { Archives } from "../storage/archival.ts"
import { type ObjectVersion, randomEtag } from "../storage/object-store.ts"
import { checkWritable, isWanted, readRange } from "./conditions.ts"
import { objectHeaders, overriddenHeaders } from "./object-headers.ts"

/** `PutObject`. Conditions are checked before the body is requested, and again when the object is replaced. */
export async function putObject(request: S3Request, state: ServerState): Promise<Reply> {
  const { headers, bucket, key } = request
  const announced = announcedChecksum(request)
  const kept = objectHeaders(headers)
  checkWritable(request, key, state.store.bucket(bucket).objects.get(key))
  const received = await receiveFile(request, state.files, announced, { md5: state.etags === "md5" })
  const version = newVersion(key, kept, received, announced?.algorithm, state)
  await commit(request, state, version)
  return { status: 200, headers: { etag: version.etag, ...checksumHeaders(version), ...encryption(version) } }
}

/** Makes an object version from a received body. */
export function newVersion(
  key: string,
  headers: Record<string, string>,
  received: ReceivedFile,
  algorithm: ChecksumAlgorithm | undefined,
  { etags }: ServerState,
): ObjectVersion {
  return {
    key,
    size: received.file.size,
    etag: etags !== "md5" ? randomEtag(etags) : `"${received.md5!.toString("hex")}"`,
    lastModified: new Date(),
    headers,
    ...(algorithm && {
      checksum: { algorithm, type: "FULL_OBJECT", value: received.checksum!.toString("base64") },
    }),
    files: [received.file],
  }
}

/** Makes `version` visible if the bucket still exists and the conditions still hold. Otherwise removes its bytes. */
export async function commit(request: S3Request, state: ServerState, version: ObjectVersion): Promise<void> {
  try {
    checkWritable(request, version.key, state.store.bucket(request.bucket).objects.get(version.key))
  } catch (error) {
    await state.files.remove(version.files)
    throw error
  }
  await state.store.put(request.bucket, version)
}

/** Throws `InvalidObjectState` if `version` must first be restored. */
function requireReadable(version: ObjectVersion, archives: Archives): void {
  if (["readable", "restored"].includes(archives.stateOf(version))) return
  const [StorageClass, AccessTier] = archives.classOf(version)!.split(" ") as [string, string?]
  throw new S3Error("InvalidObjectState", "The operation is not valid for the object's storage class", {
    StorageClass,
    ...(AccessTier !== undefined && { AccessTier }),
  })
}

/** `GetObject` and, without the body, `HeadObject`. */
export function getObject(request: S3Request, { store, archives }: ServerState): Reply {
  const { headers, query, fault } = request
  const version = store.object(request.bucket, request.key)
  const identity = { etag: version.etag, "last-modified": version.lastModified.toUTCString() }
  if (!isWanted(headers, version)) return { status: 304, headers: identity }
  if (request.operation === "GetObject") requireReadable(version, archives)
  const range = fault.ignoreRange ? null : readRange(headers.range, version.size)
  const span = range ?? { start: 0, end: version.size }
  const shift = fault.wrongContentRange ? 1 : 0
  return {
    status: range ? 206 : 200,
    headers: {
      ...version.headers,
      ...archives.headersOf(version),
      ...overriddenHeaders(query),
      "accept-ranges": "bytes",
      ...identity,
      "content-length": span.end - span.start,
      ...(range && {
        "content-range": `bytes ${span.start + shift}-${span.end - 1 + shift}/${version.size}`,
      }),
      // A range has no checksum here: the client would verify it against that of the whole object.
      ...(headers["x-amz-checksum-mode"] === "ENABLED" && !range && checksumHeaders(version)),
    },
    ...(request.operation === "GetObject" && {
      object: { version, span, release: store.retain(version) },
    }),
  }
}

/** `DeleteObject`. Answers 204 even if the key does not exist. */
export async function deleteObject(request: S3Request, { store }: ServerState): Promise<Reply> {
  const { headers, bucket, key, fault } = request
  const { "if-match": match } = headers
  if (match !== undefined)
    checkWritable({ headers: { "if-match": match }, fault }, key, store.bucket(bucket).objects.get(key))
  await store.delete(bucket, key)
  return { status: 204 }
}

export function checksumHeaders({ checksum }: ObjectVersion): Record<string, string> {
  if (!checksum) return {}
  return { [checksumHeader(checksum.algorithm)]: checksum.value, "x-amz-checksum-type": checksum.type }
}

export function encryption({ headers }: Pick<ObjectVersion, "headers">): Record<string, string> {
  const value = headers["x-amz-server-side-encryption"]
  return value === undefined ? {} : { "x-amz-server-side-encryption": value }
}
