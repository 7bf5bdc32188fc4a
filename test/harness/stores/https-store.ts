/** A TLS server with one object, and stores that read it by URL. */

import { execFile } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import type { IncomingMessage, ServerResponse } from "node:http"
import { createServer, type Server } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { getCACertificates, setDefaultCACertificates } from "node:tls"
import { promisify } from "node:util"
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest"
import { parseHostList } from "../../../packages/archive/src/store/https/allowed-hosts.ts"
import { type HttpsStoreOptions, openHttpsStore } from "../../../packages/archive/src/store/https/source.ts"
import { poisoned } from "../poisoned.ts"

export const signal = AbortSignal.timeout(60_000)
export const SECRET = "X-Amz-Signature=do-not-show"
export const KEY = "vendor://123456/archive"

let directory: string
let server: Server
export let port: number
export const peer = {} as {
  /** The server's content and behaviour, reset for each test. */
  content: Buffer
  version: { etag?: string; "last-modified"?: string }
  intercept: (request: IncomingMessage, response: ServerResponse) => boolean
}
export let requests: { url: string; headers: IncomingMessage["headers"] }[]

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-https-"))
  const [key, certificate] = [join(directory, "key.pem"), join(directory, "cert.pem")]
  await promisify(execFile)("openssl", [
    ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"],
    ...["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", key, "-out", certificate],
  ])
  const pem = await readFile(certificate, "utf8")
  setDefaultCACertificates([...getCACertificates("default"), pem])
  server = createServer({ key: await readFile(key), cert: pem }, (request, response) => {
    requests.push({ url: request.url ?? "", headers: request.headers })
    if (!peer.intercept(request, response)) serve(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  port = (server.address() as AddressInfo).port
})
afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await rm(directory, { recursive: true })
})

let opened: { close(): Promise<void> }[] = []
beforeEach(() => {
  peer.content = randomBytes(1_000_000)
  peer.version = { etag: '"v1"', "last-modified": "Tue, 01 Jul 2025 10:00:00 GMT" }
  peer.intercept = () => false
  requests = []
})
afterEach(async () => {
  for (const store of opened) await store.close()
  opened = []
})

/** Answers a presigned GET as S3 does. */
function serve(request: IncomingMessage, response: ServerResponse): void {
  const { range, "if-match": match, "if-unmodified-since": since } = request.headers
  if (request.method !== "GET") return void response.writeHead(403).end()
  if ((match && match !== peer.version.etag) || (since && since !== peer.version["last-modified"]))
    return void response.writeHead(412).end()
  const [, from = "0", to = "0"] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? []
  const [start, end] = [Number(from), Math.min(Number(to) + 1, peer.content.length)]
  if (start >= peer.content.length)
    return void response
      .writeHead(416, { ...peer.version, "content-range": `bytes */${peer.content.length}` })
      .end()
  response.writeHead(206, {
    ...peer.version,
    "content-range": `bytes ${start}-${end - 1}/${peer.content.length}`,
    "content-length": end - start,
  })
  response.end(peer.content.subarray(start, end))
}

export const url = (path = "/bucket/archive.mp4") => `https://127.0.0.1:${port}${path}?${SECRET}`

export function open(options: Partial<HttpsStoreOptions> = {}) {
  const store = poisoned(
    openHttpsStore({
      ...{ key: KEY, url: url(), hosts: parseHostList(`127.0.0.1:${port}`), idleTimeoutMs: 5_000 },
      ...options,
    }),
  )
  opened.push(store)
  return store
}

export const answer = (status: number, headers: Record<string, string | number> = {}, body = "") => {
  peer.intercept = (_request, response) => {
    response.writeHead(status, headers).end(body)
    return true
  }
}
/** The code that `work` fails with. Checks that the message does not contain the URL's query. */
export async function failure(work: Promise<unknown>): Promise<string> {
  const error = (await work.then(
    () => new Error("it did not fail"),
    (error) => error,
  )) as Error & { code?: string }
  expect(JSON.stringify([error.message, error.stack, String(error.cause)])).not.toContain("do-not-show")
  return `${error.code}: ${error.message}`
}
