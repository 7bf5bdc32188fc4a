/**
 * The archive part of the vendor's REST API, for one project of either platform: `POST /session/create` and, below
 * `/v2/project/{projectId}`, `PUT …/archive/storage`, `GET`, `POST …/archive`, `POST …/archive/{archiveId}/stop`, `GET` and
 * `DELETE …/archive/{archiveId}`. It refuses what the vendor refuses, with the same status. The cloud applies what is set
 * here from then on. The vendor's own SDKs work with it.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { closeNow, listen } from "@unseal/service/admin"
import { archiveFields, type CallbackForm, DEFAULT_CALLBACK_FORM } from "../callbacks/body.ts"
import type { Archive, RecordingCloud, RecordOptions } from "../cloud.ts"
import { textOf } from "../request-text.ts"
import { createAuthenticator, type RestCredentials } from "./authorization.ts"
import { Problem } from "./problem.ts"
import { createSessions } from "./sessions.ts"
import { parseStorageRequest, type StorageRequest } from "./storage-request.ts"
import { openTarget } from "./target-store.ts"

/** A request as the server logs it. */
export interface RestRequest {
  readonly method: string
  /** Includes the query. */
  readonly path: string
  readonly status: number
}

/** An answer sent in place of the real one. */
export interface Refusal {
  readonly status: number
  /** The value of the `Retry-After` header. */
  readonly retryAfter?: string
}

export interface RestServerOptions {
  /** Default 127.0.0.1. */
  readonly host?: string
  /** Default 0: any free port. */
  readonly port?: number
  readonly projectId: string
  readonly credentials: RestCredentials
  readonly cloud: RecordingCloud
  /** Makes a new URL for an archive in the vendor's storage. */
  urlOf?(archive: Archive): string
  readonly form?: Partial<CallbackForm>
  /** The options of the next archive that a customer starts. Default: one megabyte. */
  nextRecording?(): RecordOptions
  /** The vendor's clock, in milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
  /** Opens the store of a storage request. */
  readonly openTarget?: typeof openTarget
  /** Called first for each request. Requests are counted from 1. */
  refuse?(request: {
    readonly method: string
    readonly path: string
    readonly number: number
  }): Refusal | null
}

export interface RestServer {
  /** The base URL, without a slash at its end. */
  readonly url: string
  readonly port: number
  /** The storage that was set last; `null` before the first. */
  readonly storage: StorageRequest | null
  /** The last ten thousand requests, oldest first. */
  readonly requests: readonly RestRequest[]
  close(): Promise<void>
}

const MAX_BODY_BYTES = 65_536
const LOG_SIZE = 10_000
const USUAL_SIZE = 1_000_000
/** Only an archive that reached its destination can be deleted. */
const DELETABLE: ReadonlySet<string> = new Set(["uploaded", "available", "deleted"])
const DEFAULT_COUNT = 50
const MAX_COUNT = 1_000

export async function startRestServer(options: RestServerOptions): Promise<RestServer> {
  const { projectId, cloud, now = Date.now } = options
  const form = { ...DEFAULT_CALLBACK_FORM, ...options.form }
  const whyRefused = createAuthenticator(projectId, options.credentials, now)
  const { nextRecording = () => ({ size: USUAL_SIZE }) } = options
  const sessions = createSessions({ projectId, cloud, nextRecording })
  const open = options.openTarget ?? openTarget
  const requests: RestRequest[] = []
  const targets: OpenedStore[] = []
  let storage: StorageRequest | null = null
  let number = 0

  /** How the API describes an archive. Its times are whole seconds, unlike the callbacks'. */
  function describe(archive: Archive) {
    const url = archive.inVendorStorage ? (options.urlOf?.(archive) ?? archive.url) : archive.url
    const fields = archiveFields({ ...archive, url }, archive.status, form)
    return { ...fields, createdAt: fields.createdAt - (fields.createdAt % 1_000) }
  }

  async function setStorage(request: IncomingMessage): Promise<void> {
    requireJson(request, 400)
    const body = await bodyOf(request)
    try {
      const wanted = parseStorageRequest(body)
      const store = await open(wanted)
      targets.push(store)
      const fallback = (wanted.fallback ?? "opentok") !== "none"
      cloud.setStorage({ store, certificate: wanted.certificate ?? null, fallback })
      storage = wanted
    } catch (error) {
      throw error instanceof RangeError ? new Problem(400, error.message) : error
    }
  }

  function listArchives(query: URLSearchParams) {
    const offset = wholeNumber(query, "offset", 0, Number.MAX_SAFE_INTEGER)
    const count = wholeNumber(query, "count", DEFAULT_COUNT, MAX_COUNT)
    const sessionId = query.get("sessionId")
    const newestFirst = [...cloud.archives.values()]
      .filter((archive) => sessionId === null || archive.sessionId === sessionId)
      .reverse()
    return { count: newestFirst.length, items: newestFirst.slice(offset, offset + count).map(describe) }
  }

  async function remove(archive: Archive): Promise<void> {
    if (!DELETABLE.has(archive.status))
      throw new Problem(409, `the archive is ${archive.status}, and neither uploaded nor available`)
    await cloud.remove(archive.id, new AbortController().signal)
  }

  /** The body of the answer; `undefined` if it has none. */
  async function answer(request: IncomingMessage, url: URL): Promise<unknown> {
    const { method = "GET" } = request
    const isSession = url.pathname === "/session/create"
    const match = /^\/v2\/project\/([^/]+)\/archive(?:\/([^/]+)(\/stop)?)?$/.exec(url.pathname)
    if (!isSession && !match) throw new Problem(404, "no such path")
    const [, project = projectId, name, stop] = match ?? []
    const refused = project === projectId ? await whyRefused(request.headers) : "no such project"
    if (refused !== null) throw new Problem(403, refused)

    const [what, route] = isSession
      ? ["session", `${method} session`]
      : [
          name,
          `${method} ${name === undefined || name === "storage" ? (name ?? "list") : "archive"}${stop ?? ""}`,
        ]
    switch (route) {
      case "POST session":
        return sessions.create(await bodyOf(request))
      case "GET list":
        return listArchives(url.searchParams)
      case "POST list":
        requireJson(request, 415)
        return describe(sessions.start(await bodyOf(request)))
      case "PUT storage":
        return setStorage(request)
      case "POST archive/stop":
        return describe(sessions.stop(what!))
    }
    if (!["GET archive", "DELETE archive"].includes(route)) throw new Problem(405, `no ${method} here`)
    const archive = cloud.archives.get(what!)
    if (archive === undefined) throw new Problem(404, "no such archive")
    return method === "GET" ? describe(archive) : remove(archive)
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", url: path = "/" } = request
    response.setHeader("date", new Date(now()).toUTCString())
    number++
    const log = (status: number) => {
      requests.push({ method, path, status })
      if (requests.length > LOG_SIZE) requests.shift()
    }
    const refusal = options.refuse?.({ method, path, number })
    if (refusal) {
      log(refusal.status)
      const { status, retryAfter } = refusal
      return send(response, status, problem(status, "refused as told"), retryAfter)
    }
    try {
      const body = await answer(request, new URL(path, "http://localhost"))
      const status = body === undefined && method === "DELETE" ? 204 : 200
      log(status)
      send(response, status, body)
    } catch (error) {
      const status = error instanceof Problem ? error.status : 500
      log(status)
      send(response, status, problem(status, error instanceof Problem ? error.message : "internal error"))
    }
  }

  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy())
  })
  Object.assign(server, { headersTimeout: 5_000, requestTimeout: 10_000 })
  const host = options.host ?? "127.0.0.1"
  await listen(server, options.port ?? 0, host)
  const { port } = server.address() as AddressInfo
  return {
    url: `http://${host}:${port}`,
    port,
    requests,
    get storage() {
      return storage
    },
    async close() {
      await closeNow(server)
      await sessions.close()
      for (const target of targets) await target.close()
    },
  }
}

function requireJson(request: IncomingMessage, status: number): void {
  if (!/^application\/json\b/i.test(request.headers["content-type"] ?? ""))
    throw new Problem(status, "the content type is not application/json")
}

function wholeNumber(query: URLSearchParams, name: string, fallback: number, max: number): number {
  const text = query.get(name)
  if (text === null) return fallback
  if (!/^\d{1,15}$/.test(text) || Number(text) > max)
    throw new Problem(400, `${name} must be a whole number up to ${max}`)
  return Number(text)
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const text = await textOf(request, MAX_BODY_BYTES)
  if (text === null) throw new Problem(400, `the body is larger than ${MAX_BODY_BYTES} bytes`)
  return text
}

const problem = (status: number, message: string) => ({ code: status, message })

function send(response: ServerResponse, status: number, body: unknown, retryAfter?: string): void {
  response.writeHead(status, {
    "content-type": "application/json",
    ...(retryAfter === undefined ? {} : { "retry-after": retryAfter }),
  })
  response.end(body === undefined ? undefined : JSON.stringify(body))
}
