/** The control API: starts recordings in the simulated cloud, and shows its archives. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { BLOCK_SIZE } from "@unseal/archive/format/cbc"
import { closeNow, listen } from "@unseal/service/admin"
import { z } from "zod"
import { BAD_DAY_CHANGE, type BadDay } from "./bad-day.ts"
import { ARCHIVE_STATUSES } from "./callbacks/body.ts"
import type { Archive, RecordOptions } from "./cloud.ts"
import { textOf } from "./request-text.ts"

/** More than any request needs. */
const MAX_BODY_BYTES = 16_384

const RECORDINGS = z
  .strictObject({
    size: z.int().min(0),
    count: z.int().min(1).max(100_000).default(1),
    exact: z.boolean().exactOptional(),
    tail: z.enum(["pkcs7", "zero", "none"]).exactOptional(),
    name: z.string().max(200).exactOptional(),
    statuses: z.array(z.enum(ARCHIVE_STATUSES)).max(20).exactOptional(),
    duplicates: z.int().min(0).max(1_000).exactOptional(),
    reason: z.string().max(200).exactOptional(),
    url: z.url().exactOptional(),
  })
  .refine(({ size, exact }) => exact !== true || size % BLOCK_SIZE === 0, {
    path: ["size"],
    error: `must be a multiple of ${BLOCK_SIZE} to be exact`,
  })

export interface ControlOptions {
  readonly host: string
  /** 0 picks any free port. */
  readonly port: number
  readonly archives: ReadonlyMap<string, Archive>
  readonly badDay: BadDay
  /** Starts recording, and does not wait for it. */
  record(recordings: Iterable<RecordOptions>): void
}

/**
 * Serves `POST /archives {"size":…,"count":…}` (202 `{"accepted":…}`; further members as in `RecordOptions`),
 * `GET /archives` (newest first) and `GET /archives/{id}`; `GET /bad-day` and `PATCH /bad-day`. Errors are problem documents (RFC 9457).
 */
export async function startControlServer(
  options: ControlOptions,
): Promise<{ port: number; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    answer(options, request, response).catch((error: unknown) => {
      if (error instanceof Problem) sendProblem(response, error)
      else response.destroy()
    })
  })
  Object.assign(server, { headersTimeout: 5_000, requestTimeout: 10_000 })
  await listen(server, options.port, options.host)
  return {
    port: (server.address() as AddressInfo).port,
    close: () => closeNow(server),
  }
}

/** An error to answer the request with. */
class Problem extends Error {
  readonly status: number

  constructor(status: number, detail: string) {
    super(detail)
    this.status = status
  }
}

async function answer(
  options: ControlOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const [, collection, id, ...rest] = (request.url ?? "").split("?", 1)[0]!.split("/")
  if (collection === "bad-day" && id === undefined) return answerBadDay(options, request, response)
  if (collection !== "archives" || rest.length > 0) throw new Problem(404, `no such path: ${PATHS}`)

  if (request.method === "POST" && id === undefined) {
    const { count, ...recording } = parseBody(
      RECORDINGS,
      await bodyOf(request),
      '{ "size": 5000000, "count": 2 }',
    )
    options.record(Array.from({ length: count }, () => recording))
    return send(response, 202, { accepted: count })
  }
  if (request.method !== "GET") throw new Problem(405, `no ${request.method} here: ${PATHS}`)
  if (id === undefined) return send(response, 200, [...options.archives.values()].reverse().map(summaryOf))
  const archive = options.archives.get(id)
  if (archive === undefined)
    throw new Problem(404, "no such archive: GET /archives lists those that there are")
  // As in the vendor's REST API, this includes the encrypted password.
  send(response, 200, archive)
}

const PATHS = "there are POST /archives, GET /archives, GET /archives/{id}, GET /bad-day and PATCH /bad-day"

async function answerBadDay(
  { badDay }: ControlOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method === "PATCH") {
    const change = parseBody(BAD_DAY_CHANGE, await bodyOf(request), '{ "loseCallbacksEvery": 3 }')
    if (change.quirks !== undefined && badDay.state().quirks === null)
      throw new Problem(409, "quirks are the S3 server's, which does not run: set SIMULATOR_S3_PORT")
    badDay.change(change)
  } else if (request.method !== "GET") throw new Problem(405, `no ${request.method} here: ${PATHS}`)
  send(response, 200, badDay.state())
}

const summaryOf = ({ id, key, status, recording, callbacks }: Archive) => ({
  id,
  key,
  status,
  size: recording?.size ?? null,
  callbacks: callbacks.map((sent) => ({
    status: sent.status,
    outcome: sent.delivery?.outcome ?? "pending",
    attempts: sent.delivery?.attempts.length ?? null,
  })),
})

function parseBody<Schema extends z.ZodType>(
  schema: Schema,
  body: string,
  example: string,
): z.output<Schema> {
  let json: unknown
  try {
    json = JSON.parse(body)
  } catch {
    throw new Problem(400, `the body is not JSON: send one like ${example}`)
  }
  const parsed = schema.safeParse(json)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join(".") || "body"}: ${message}`)
  throw new Problem(400, problems.join("; "))
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const text = await textOf(request, MAX_BODY_BYTES)
  if (text === null) throw new Problem(413, `the body is larger than ${MAX_BODY_BYTES} bytes`)
  return text
}

function send(response: ServerResponse, status: number, body: unknown, type = "application/json"): void {
  response.writeHead(status, { "content-type": type }).end(`${JSON.stringify(body)}\n`)
}

function sendProblem(response: ServerResponse, { status, message }: Problem): void {
  send(response, status, { type: "about:blank", status, detail: message }, "application/problem+json")
}
