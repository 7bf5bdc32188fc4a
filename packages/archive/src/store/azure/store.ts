/**
 * Azure Blob Storage: block blobs with @azure/storage-blob.
 *
 * It relies on: Get Blob with `If-Match`; Put Block, which keeps a part invisible; Put Block List, which makes the blob
 * visible at once, with `If-None-Match: *` where an existing object must stay. Parts are Azure's staged blocks, at most
 * 50,000 of at most 4000 MiB. Required permissions: read and write (also for `restore`), list for `openUploads`, and delete for
 * `remove`.
 *
 * Differences from a store with multipart uploads:
 * - There are no uploads, only staged blocks that belong to the blob's name. An upload is the set of blocks that name it
 *   (blocks.ts). Without parts it leaves no trace, and can't be told from one that has ended. So resuming it begins without
 *   parts, and only the process that ended it answers `ERR_UPLOAD_GONE`. This is safe, because a part counts only if its
 *   block is there.
 * - A commit of any block list, and Put Blob, discard all staged blocks of the blob, those of other uploads included. Their
 *   `complete` then finds the other object, or fails with `ERR_UPLOAD_GONE`; it never publishes.
 * - Azure can't discard staged blocks alone. Committing an empty list and deleting the result would show an empty object for
 *   a moment. So `abort` deletes the uncommitted blob, on a condition that no visible object meets, and only when every block
 *   on it belongs to an upload that was ended here. If it can't delete the blob (no permission, another upload's blocks, a
 *   visible object under the key), Azure drops the blocks a week after the last one was staged.
 * - `openUploads` sees only blobs that were never committed. Finding blocks staged to replace visible objects would take a
 *   request per object of the container.
 * - Metadata names are C# identifiers to Azure: `-` is stored as `_`.
 *
 * A part is checked end to end: its CRC-32 before it is sent, and on the wire by TLS or, without TLS, by MD5, which the store
 * verifies. Beside TLS, MD5 would cost processor time for nothing new, and it fails in FIPS mode. Node lacks Azure's CRC-64.
 */
import type { BlobItem } from "@azure/storage-blob"
import { counted } from "../../counted.ts"
import { isUnsealError, UnsealError } from "../../errors.ts"
import type { ByteRange } from "../../format/parts.ts"
import type { OpenedObject, OpenedStore, OpenUpload, StoredObject } from "../contract.ts"
import { createPace, graceMs } from "../http/pace.ts"
import { keyUnder, whatIsWrongWithEtag } from "../identity.ts"
import { openInTwo } from "../open-in-two.ts"
import type { AdapterOptions } from "../options.ts"
import { createMarkers } from "../page-markers.ts"
import type { AzureStoreUrl } from "../url.ts"
import { archivalOf, rehydrate } from "./archival.ts"
import { newToken, parseUpload, partSizeFor } from "./blocks.ts"
import { containerClient } from "./container.ts"
import { attempt, azureError, dripping, silent } from "./errors.ts"
import { azureWriter, type Destination, EndedUploads, endUpload, stagedBlocks } from "./writer.ts"

/** Opens the store of `url`. Sends nothing to Azure yet. Throws `ERR_STORE_DENIED` without an account or a usable credential. */
export async function openAzureStore(url: AzureStoreUrl, options: AdapterOptions): Promise<OpenedStore> {
  const { env, onNotice = () => {}, onExchange } = options
  const container = await containerClient(url, env, onNotice, onExchange)
  const location = `azure://${keyUnder(url.container, url.prefix).replace(/\/$/, "")}`
  const { idleTimeoutMs } = options
  const ended = new EndedUploads()

  const destination = (key: string): Destination => ({
    key,
    name: `${location}/${key}`,
    blob: container.getBlockBlobClient(keyUnder(url.prefix, key)),
    idleTimeoutMs,
    placement: url,
    ended,
    stat: (signal) => stat(key, signal),
  })

  async function stat(key: string, signal?: AbortSignal): Promise<StoredObject | null> {
    const { blob, name } = destination(key)
    try {
      const found = await attempt(`looking up ${name}`, idleTimeoutMs, signal, (abortSignal) =>
        blob.getProperties({ abortSignal }),
      )
      const { contentLength: size, etag = "", metadata } = found
      const wrong = size === undefined ? "answered without a size" : whatIsWrongWithEtag(etag)
      if (wrong !== null) throw new UnsealError("ERR_STORE_UNAVAILABLE", `looking up ${name}: ${wrong}`)
      const archival = archivalOf(found)
      return { key, size: size!, etag, metadata: fromAzure(metadata ?? {}), ...(archival && { archival }) }
    } catch (error) {
      if (isUnsealError(error, "ERR_OBJECT_NOT_FOUND")) return null
      throw error
    }
  }

  /** Opens one version with a request for its first bytes, which are not read yet. Azure can't answer this for an empty object. */
  async function open(key: string, length: number, signal: AbortSignal): Promise<OpenedObject | null> {
    const { blob, name } = destination(key)
    const doing = `reading the first ${counted(length, "byte")} of ${name}`
    let response: DownloadResponse
    try {
      response = await attempt(doing, idleTimeoutMs, signal, (abortSignal) =>
        blob.download(0, length, { abortSignal, maxRetryRequests: 0 }),
      )
    } catch (error) {
      if (isUnsealError(error, "ERR_OBJECT_NOT_FOUND")) return null
      if (!isUnsealError(error, "ERR_OBJECT_CHANGED")) throw error
      return openInTwo({ stat, read }, key, length, signal)
    }
    const size = Number(/\/(\d{1,20})$/.exec(response.contentRange ?? "")?.[1])
    const object = { key, size, etag: response.etag ?? "", metadata: fromAzure(response.metadata ?? {}) }
    const range = { start: 0, end: Math.min(length, size) }
    const body = bodyOf(response, object, range, doing)
    // Until somebody reads the body, nobody else would notice that it broke.
    body.on("error", () => {})
    return { object, head: pieces(body, range, doing, signal), close: () => body.destroy() }
  }

  async function* read(object: StoredObject, range: ByteRange, signal: AbortSignal) {
    const { start, end } = range
    const { blob, name } = destination(object.key)
    const doing = `reading bytes ${start} to ${end - 1} of ${name}`
    const response = await attempt(doing, idleTimeoutMs, signal, (abortSignal) =>
      blob.download(start, end - start, {
        abortSignal,
        conditions: { ifMatch: object.etag },
        maxRetryRequests: 0,
      }),
    ).catch(async (error: unknown) => {
      // `If-Match` fails for a missing object as for a changed one.
      if (isUnsealError(error, "ERR_OBJECT_CHANGED") && (await stat(object.key, signal)) === null)
        throw new UnsealError("ERR_OBJECT_NOT_FOUND", `${doing}: the object is gone`, { cause: error })
      throw error
    })
    yield* pieces(bodyOf(response, object, range, doing), range, doing, signal)
  }

  async function* pieces(body: Body, { start, end }: ByteRange, doing: string, signal: AbortSignal) {
    // The request's own signal ended with the answer's headers. Destroying the stream ends the loop with an error.
    const stop = () => body.destroy()
    signal.addEventListener("abort", stop, { once: true })
    const pace = createPace(graceMs(idleTimeoutMs), undefined, undefined, idleTimeoutMs)
    pace.run()
    let slow = false
    let late = false
    const giveUp = () => {
      late = true
      stop()
    }
    let idle = setTimeout(giveUp, idleTimeoutMs)
    let received = 0
    try {
      signal.throwIfAborted()
      for await (const chunk of body as AsyncIterable<Uint8Array>) {
        // While the consumer works nothing can move. That is not the store's fault.
        clearTimeout(idle)
        slow = !pace.moved(chunk.length)
        if (slow) break
        pace.hold()
        received += chunk.length
        if (received > end - start) break
        yield chunk
        signal.throwIfAborted()
        pace.run()
        idle = setTimeout(giveUp, idleTimeoutMs)
      }
    } catch (error) {
      signal.throwIfAborted()
      throw late ? silent(doing, idleTimeoutMs) : azureError(error, doing)
    } finally {
      clearTimeout(idle)
      signal.removeEventListener("abort", stop)
      body.destroy()
    }
    signal.throwIfAborted()
    if (slow) throw dripping(doing)
    if (received !== end - start)
      throw new UnsealError(
        "ERR_STORE_UNAVAILABLE",
        `${doing}: ${counted(received, "byte")} came instead of ${end - start}`,
      )
  }

  async function remove(key: string, signal: AbortSignal): Promise<void> {
    const { blob, name } = destination(key)
    try {
      await attempt(`removing ${name}`, idleTimeoutMs, signal, (abortSignal) => blob.delete({ abortSignal }))
    } catch (error) {
      if (!isUnsealError(error, "ERR_OBJECT_NOT_FOUND")) throw error
    }
  }

  /** Reads one page after the other, because the SDK's iterator has a single signal for all pages. */
  async function* uncommittedBlobs(prefix: string, signal: AbortSignal): AsyncGenerator<BlobItem> {
    const markers = createMarkers(`the listing of ${location}`)
    let continuationToken: string | undefined
    do {
      const { value: page } = await attempt(`listing ${location}`, idleTimeoutMs, signal, (abortSignal) =>
        container
          .listBlobsFlat({ prefix, includeUncommitedBlobs: true, abortSignal })
          .byPage({ ...(continuationToken && { continuationToken }) })
          .next(),
      )
      // A blob that was never committed has no bytes yet. Its block list says whether it has staged blocks.
      for (const item of page.segment.blobItems as BlobItem[])
        if ((item.properties.contentLength ?? 0) === 0) yield item
      continuationToken = markers.advance(Boolean(page.continuationToken), page.continuationToken)
    } while (continuationToken)
  }

  async function* openUploads(signal: AbortSignal, only?: string): AsyncGenerator<OpenUpload> {
    const uploads = new Map<string, OpenUpload>()
    for await (const { name } of uncommittedBlobs(keyUnder(url.prefix, only ?? ""), signal)) {
      const key = name.slice(keyUnder(url.prefix, "").length)
      if (only !== undefined && key !== only) continue
      for (const { block } of await stagedBlocks(destination(key), signal)) {
        const upload = block && parseUpload(block.token)
        if (upload && !ended.has(upload.token))
          uploads.set(`${upload.token} ${key}`, { key, token: upload.token, startedAt: upload.startedAt })
      }
    }
    yield* [...uploads.values()].sort((a, b) => a.startedAt.getTime() - b.startedAt.getTime())
  }

  return {
    location,
    stat,
    open,
    read,
    partSizeFor: (size) => partSizeFor(size, options.partSizeBytes),
    async create(key, size, create, signal) {
      const token = create.token ?? newToken(partSizeFor(size, options.partSizeBytes))
      return azureWriter(destination(key), token, size, create, signal)
    },
    openUploads,
    abortUpload: ({ key, token }, signal) => endUpload(destination(key), token, signal),
    remove,
    restore({ key }, _, signal) {
      const { blob, name } = destination(key)
      return rehydrate(blob, name, idleTimeoutMs, signal)
    },
    // The SDK's connections belong to Node's global agents, which keep no process alive while idle.
    async close() {},
  }
}

interface DownloadResponse {
  readonly contentRange?: string | undefined
  readonly contentLength?: number | undefined
  readonly etag?: string | undefined
  readonly metadata?: Readonly<Record<string, string>> | undefined
  readonly readableStreamBody?: NodeJS.ReadableStream | undefined
  readonly _response: { readonly status: number }
}

type Body = NodeJS.ReadableStream & { destroy(): void }

/** The body of `response`. Throws `ERR_STORE_UNAVAILABLE` unless it is exactly `range` of `object`. */
function bodyOf(response: DownloadResponse, object: StoredObject, range: ByteRange, doing: string): Body {
  const body = response.readableStreamBody as Body
  const wrong = whatIsWrong(response, object, range)
  if (wrong === null) return body
  body.destroy()
  throw new UnsealError("ERR_STORE_UNAVAILABLE", `${doing}: ${wrong}`)
}

/** Why `response` is not exactly `range` of `object`; `null` if it is. */
function whatIsWrong(
  response: DownloadResponse,
  object: StoredObject,
  { start, end }: ByteRange,
): string | null {
  const contentRange = `bytes ${start}-${end - 1}/${object.size}`
  if (response._response.status !== 206) return `answered ${response._response.status} instead of 206`
  if (response.contentRange !== contentRange)
    return `Content-Range is ${response.contentRange}, not ${contentRange}`
  if (response.contentLength !== end - start)
    return `Content-Length is ${response.contentLength} instead of ${end - start}`
  const wrong = whatIsWrongWithEtag(response.etag)
  if (wrong !== null) return wrong
  if (response.etag !== object.etag) return `the ETag is ${response.etag} instead of ${object.etag}`
  return null
}

const fromAzure = (metadata: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name.replaceAll("_", "-"), value]))
