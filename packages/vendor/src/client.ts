/** The parts of the OpenTok and Vonage Video REST APIs that encrypted archives need. */
import { type Authorizer, createAuthorizer, type VendorCredentials } from "./authorization.ts"
import { listByOffset } from "./offset-pagination.ts"
import { PLATFORM_DEFAULTS, type Platform } from "./platform.ts"
import { type RequestOptions, sendRequest, type VendorRequest, type VendorResponse } from "./request.ts"
import type { UploadTarget } from "./upload-target.ts"
import { archiveListSchema, parseVendorArchive, type VendorArchive } from "./vendor-archive.ts"
import { VendorError } from "./vendor-error.ts"

export type { VendorCredentials } from "./authorization.ts"
export type { UploadTarget } from "./upload-target.ts"
export type { VendorArchive } from "./vendor-archive.ts"

export interface VendorClientOptions extends RequestOptions {
  readonly platform: Platform
  /** An OpenTok API key (digits) or a Vonage application (UUID). */
  readonly projectId: string
  readonly credentials: VendorCredentials
  /** Defaults to the platform's. A path is kept, a trailing slash is dropped. */
  readonly baseUrl?: string | undefined
}

export interface ListOptions {
  /** Archives per request, at most 1000, which is the default and the vendor's limit. */
  readonly pageSize?: number
  /** How many archives two pages share, because deletions shift the offsets. Default 50. */
  readonly overlap?: number
}

/** The vendor's REST API for one project. All methods throw `VendorError`; an abort of `signal` rejects with its reason. */
export interface VendorClient {
  readonly projectId: string
  /** Sets the upload target and the certificate for all archives recorded from now on. Replaces the previous ones. */
  setStorage(storage: UploadTarget, signal: AbortSignal): Promise<void>
  /** The archive, with a new `url` if it is `available`. `null` if the vendor has no such archive. */
  getArchive(archiveId: string, signal: AbortSignal): Promise<VendorArchive | null>
  /**
   * All archives of the project, newest first, each once. Archives recorded or deleted during the reading may be missing. The
   * next page is requested only once the last one is consumed, so leaving the loop ends the reading.
   */
  listArchives(options: ListOptions, signal: AbortSignal): AsyncIterable<VendorArchive>
}

const MAX_PAGE_SIZE = 1_000
const DEFAULT_OVERLAP = 50

/** Creates a client; sends nothing yet. Throws `RangeError` for an unusable base URL, and the errors of `createAuthorizer`. */
export function createVendorClient(options: VendorClientOptions): VendorClient {
  const { projectId } = options
  const authorize: Authorizer = createAuthorizer(projectId, options.credentials)
  const base = projectUrl(options.baseUrl ?? PLATFORM_DEFAULTS[options.platform].baseUrl, projectId)
  const send = (request: VendorRequest, signal: AbortSignal) =>
    sendRequest(
      { ...request, secrets: [...secretsOf(options), ...(request.secrets ?? [])] },
      authorize,
      options,
      signal,
    )

  async function fetchPage(offset: number, count: number, signal: AbortSignal): Promise<VendorArchive[]> {
    const what = `list the archives of project ${projectId}`
    const url = `${base}?${new URLSearchParams({ offset: String(offset), count: String(count) })}`
    const response = await send({ method: "GET", url, what }, signal)
    if (response.refusal) throw response.refusal
    return understand(what, response, (json) =>
      archiveListSchema.parse(json).items.map((item) => parseVendorArchive(item, projectId)),
    )
  }

  return {
    projectId,
    async setStorage(storage, signal) {
      const what = `set the storage of project ${projectId}`
      const url = `${base}/storage`
      const secrets = [storage.type === "s3" ? storage.config.secretKey : storage.config.accountKey]
      const response = await send({ method: "PUT", url, what, body: storage, secrets }, signal)
      if (response.refusal) throw response.refusal
    },
    async getArchive(archiveId, signal) {
      const what = `tell of archive ${archiveId}`
      const url = `${base}/${encodeURIComponent(archiveId)}`
      const response = await send({ method: "GET", url, what }, signal)
      if (response.status === 404) return null
      return understand(what, response, (json) => parseVendorArchive(json, projectId))
    },
    listArchives({ pageSize = MAX_PAGE_SIZE, overlap = DEFAULT_OVERLAP }, signal) {
      if (!Number.isInteger(pageSize) || pageSize < 1 || pageSize > MAX_PAGE_SIZE)
        throw new RangeError(`a page has 1 to ${MAX_PAGE_SIZE} archives, not ${pageSize}`)
      return listByOffset({
        pageSize,
        overlap,
        fetchPage: (offset, count) => fetchPage(offset, count, signal),
        idOf: ({ archiveId }) => archiveId,
      })
    },
  }
}

const secretsOf = ({ credentials }: VendorClientOptions): string[] =>
  "apiSecret" in credentials ? [credentials.apiSecret] : []

/** The URL of the project's archives. Messages omit the base URL, because people paste user:password@ there. */
function projectUrl(baseUrl: string, projectId: string): string {
  const url = URL.parse(baseUrl)
  if (url === null || !["http:", "https:"].includes(url.protocol))
    throw new RangeError("the base URL is not an http:// or https:// URL")
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "")
    throw new RangeError("the base URL has credentials, a query or a fragment: leave them out")
  return `${url.href.replace(/\/+$/, "")}/v2/project/${encodeURIComponent(projectId)}/archive`
}

function understand<T>(what: string, { status, text }: VendorResponse, parse: (json: unknown) => T): T {
  try {
    return parse(JSON.parse(text))
  } catch {
    // No cause: a JSON parser's message quotes the text, which holds passwords.
    throw new VendorError(
      "ERR_STORE_UNAVAILABLE",
      `the vendor was asked to ${what}, and its answer of ${text.length} characters can't be understood`,
      { status, remedy: "check the base URL and the platform" },
    )
  }
}
