/** Writing to Azure: an object's parts are staged blocks until their list is committed. store.ts describes the guarantees. */
import { createHash } from "node:crypto"
import { Readable } from "node:stream"
import type { BlockBlobClient } from "@azure/storage-blob"
import { counted } from "../../counted.ts"
import { isUnsealError, UnsealError } from "../../errors.ts"
import { formatCrc32 } from "../../format/crc32.ts"
import type { CreateOptions, PartWriter, StoredObject, WrittenPart } from "../contract.ts"
import { isSameObject } from "../identity.ts"
import { checkCrc32, checkLength, checkParts, partBytes } from "../part-checks.ts"
import type { AzurePlacement } from "../url-parameters.ts"
import { type BlockName, blockId, fits, parseBlockId, parseUpload } from "./blocks.ts"
import { attempt } from "./errors.ts"

/** The key to write to. */
export interface Destination {
  readonly key: string
  /** For messages: the store's location and the key. */
  readonly name: string
  readonly blob: BlockBlobClient
  readonly idleTimeoutMs: number
  /** The placement that the URL asks for. */
  readonly placement: AzurePlacement
  readonly ended: EndedUploads
  stat(signal?: AbortSignal): Promise<StoredObject | null>
}

/** The uploads that this process ended, which Azure does not track. Holds the latest ten thousand, to bound memory. */
export class EndedUploads {
  readonly #tokens = new Set<string>()

  add(token: string): void {
    this.#tokens.add(token)
    if (this.#tokens.size > 10_000)
      for (const oldest of this.#tokens.values().take(1)) this.#tokens.delete(oldest)
  }

  has(token: string): boolean {
    return this.#tokens.has(token)
  }
}

interface StagedBlock {
  /** `null` if another program staged it. */
  readonly block: BlockName | null
  /** Bytes. */
  readonly size: number
}

/** The staged blocks under a key, whoever staged them. */
export async function stagedBlocks(to: Destination, signal?: AbortSignal): Promise<StagedBlock[]> {
  try {
    const { uncommittedBlocks = [] } = await attempt(
      `listing the parts of ${to.name}`,
      to.idleTimeoutMs,
      signal,
      (abortSignal) => to.blob.getBlockList("uncommitted", { abortSignal }),
    )
    return uncommittedBlocks.map(({ name, size }) => ({ block: parseBlockId(name), size }))
  } catch (error) {
    if (isUnsealError(error, "ERR_OBJECT_NOT_FOUND")) return []
    throw error
  }
}

/** Earlier than any blob: Azure Blob Storage dates from 2008. */
const BEFORE_AZURE = new Date("2000-01-01T00:00:00Z")

/** Ends the upload of `token`. Removes the staged blocks under the key if store.ts says that it can. */
export async function endUpload(to: Destination, token: string, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted()
  if (parseUpload(token) === null) return
  to.ended.add(token)
  const blocks = await stagedBlocks(to, signal)
  if (blocks.length === 0 || blocks.some(({ block }) => block === null || !to.ended.has(block.token))) return
  // Two guards before deletion: nothing is visible now, and the condition fails if something becomes visible meanwhile.
  if ((await to.stat(signal)) !== null) return
  try {
    await attempt(`removing the parts of ${to.name}`, to.idleTimeoutMs, signal, (abortSignal) =>
      to.blob.delete({ abortSignal, conditions: { ifUnmodifiedSince: BEFORE_AZURE } }),
    )
  } catch (error) {
    // If the store refuses, it will drop the blocks itself.
    if (!isUnsealError(error) || isUnsealError(error, "ERR_STORE_UNAVAILABLE", "ERR_STORE_BUSY")) throw error
  }
}

/** Begins or resumes the upload of `token`, which may be any text. Throws `ERR_UPLOAD_GONE` if it can't be one of `size` bytes. */
export async function azureWriter(
  to: Destination,
  token: string,
  size: number,
  options: CreateOptions,
  signal: AbortSignal,
): Promise<PartWriter> {
  const upload = parseUpload(token)
  if (upload === null || !fits(size, upload.partSize) || to.ended.has(token))
    throw new UnsealError(
      "ERR_UPLOAD_GONE",
      `no upload to resume for ${to.name}: it has ended, or never existed`,
    )
  const { partSize } = upload
  // Called before anything is read or decrypted, to find a missing container or a refused credential early.
  await stagedBlocks(to, signal)

  /** What this process staged last. Azure's list does not say which of a part's two contents is newer. */
  const newest = new Map<number, string>()
  const { accessTier, encryptionScope, tags } = to.placement
  // A blob is encrypted with the scope of its blocks, so the block list must name the same one.
  const scope = encryptionScope === undefined ? {} : { encryptionScope }
  const secure = to.blob.url.startsWith("https:")

  async function writePart(
    number: number,
    body: readonly Uint8Array[],
    crc32: number,
    signal: AbortSignal,
  ): Promise<WrittenPart> {
    const bytes = partBytes(number, size, partSize)
    checkLength(body, bytes, `part ${number} of ${to.name}`)
    checkCrc32(body, crc32, `part ${number} of ${to.name}`)
    if (to.ended.has(token))
      throw new UnsealError("ERR_UPLOAD_GONE", `part ${number} of ${to.name}: the upload has ended`)
    const tag = formatCrc32(crc32)
    const checksum = secure ? {} : { transactionalContentMD5: md5Of(body) }
    await attempt(`writing part ${number} of ${to.name}`, to.idleTimeoutMs, signal, (abortSignal, moved) => {
      let sent = 0
      const onProgress = ({ loadedBytes }: { loadedBytes: number }) => {
        const more = loadedBytes - sent
        sent = loadedBytes
        moved(more)
        options.moved?.(more)
      }
      const pieces = () => Readable.from(inPieces(body))
      return to.blob.stageBlock(blockId({ token, number, tag }), pieces, bytes, {
        ...{ abortSignal, onProgress },
        ...checksum,
        ...scope,
      })
    })
    newest.set(number, tag)
    return { size: bytes, tag }
  }

  async function written(signal: AbortSignal): Promise<ReadonlyMap<number, WrittenPart>> {
    const parts = new Map<number, WrittenPart>()
    const unclear = new Set<number>()
    for (const { block, size } of await stagedBlocks(to, signal)) {
      if (block?.token !== token) continue
      const { number, tag } = block
      const last = newest.get(number)
      if (last === undefined && parts.has(number)) unclear.add(number)
      if (last === undefined || last === tag) parts.set(number, { size, tag })
    }
    // A part with two contents, neither staged here, counts as missing: it is written again.
    for (const number of unclear) parts.delete(number)
    return parts
  }

  async function complete(
    parts: ReadonlyMap<number, WrittenPart>,
    signal: AbortSignal,
  ): Promise<StoredObject> {
    checkParts(parts, size, partSize)
    const ids = Array.from(parts, ([number, { tag }]) => ({ token, number, tag }))
      .sort((a, b) => a.number - b.number)
      .map(blockId)
    const doing = `completing ${to.name} of ${counted(size, "byte")}`
    try {
      const { etag } = await attempt(doing, to.idleTimeoutMs, signal, (abortSignal) =>
        to.blob.commitBlockList(ids, {
          abortSignal,
          metadata: toAzure(options.metadata),
          blobHTTPHeaders: { blobContentType: options.contentType },
          ...scope,
          ...(accessTier !== undefined && { tier: accessTier }),
          ...(tags !== undefined && { tags }),
          ...(options.existing === "fail" && { conditions: { ifNoneMatch: "*" } }),
        }),
      )
      if (etag === undefined)
        throw new UnsealError("ERR_STORE_UNAVAILABLE", `${doing}: no ETag in the answer`)
      to.ended.add(token)
      return { key: to.key, size, etag, metadata: options.metadata }
    } catch (error) {
      if (!isUnsealError(error) || error.code === "ERR_STORE_DENIED") throw error
      return settleCommit(error, signal)
    }
  }

  /** Other failures may follow a commit that took effect, in this call or an earlier one. The object that is there now decides. */
  async function settleCommit(failure: UnsealError, signal: AbortSignal): Promise<StoredObject> {
    const found = await to.stat(signal)
    if (found !== null && isSameObject(found, size, options.metadata)) {
      to.ended.add(token)
      return found
    }
    if (found !== null && options.existing === "fail")
      throw new UnsealError(
        "ERR_DESTINATION_EXISTS",
        `${to.name} holds another object of ${counted(found.size, "byte")}, with the ETag ${found.etag}`,
        { cause: failure },
      )
    // The object in the way has disappeared, so the next attempt can succeed.
    if (found === null && isUnsealError(failure, "ERR_DESTINATION_EXISTS", "ERR_OBJECT_CHANGED"))
      throw new UnsealError("ERR_STORE_UNAVAILABLE", failure.message, { cause: failure })
    throw failure
  }

  const holds = { token, resumable: true, keepsBodies: false, partSize }
  return { ...holds, written, writePart, complete, abort: () => endUpload(to, token) }
}

/** Views of `body`, small enough to show that the connection moves. */
function* inPieces(body: readonly Uint8Array[]): Generator<Uint8Array> {
  const most = 64 * 1024
  for (const chunk of body)
    for (let at = 0; at < chunk.length; at += most) yield chunk.subarray(at, at + most)
}

function md5Of(body: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("md5")
  for (const chunk of body) hash.update(chunk)
  return hash.digest()
}

const toAzure = (metadata: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name.replaceAll("-", "_"), value]))
