import { createHash } from "node:crypto"
import type { AddressInfo } from "node:net"
import type { DuplicateOf } from "@unseal/queue/enqueue/duplicate-of"
import type { Enqueued } from "@unseal/queue/enqueue/producer"
import type { JobPayload } from "@unseal/queue/jobs/job"
import { jobIdOf } from "@unseal/queue/jobs/job"
import { listen } from "@unseal/service/admin"
import { createLimitedServer, type ServerLimits } from "@unseal/service/http/limited-server"
import type { Networks, TrustedProxies } from "@unseal/service/http/networks"
import { createLogger } from "@unseal/service/log/logger"
import { createRegistry } from "@unseal/service/metrics"
import type { IngestProject } from "@unseal/service/projects/projects"
import { SignJWT } from "jose"
import { createApp } from "../../../apps/ingest/src/app.ts"
import { createCutRecorder } from "../../../apps/ingest/src/outcome.ts"

export const ARCHIVE_ID = "30b3ebf1-ba36-4f5b-8def-6f70d9986fe9"
export const APPLICATION_ID = "78d335fa-323d-0114-9c3d-d6f0d48968cf"
export const SECRET = "the secret that signs callbacks at present"
export const OLD_SECRET = "the secret that signed callbacks before"
export const TOKEN = "c4n4ry-token-of-the-path"

/** No part of it may appear in answers or logs. */
export const PASSWORD = Buffer.from("c4n4ry password, as if it were encrypted").toString("base64")

const PROJECTS: readonly IngestProject[] = [
  { id: "123456", callbackAuth: "signed", signatureSecrets: [SECRET, OLD_SECRET] },
  { id: APPLICATION_ID, callbackAuth: "signed", signatureSecrets: ["another project's secret"] },
  { id: "777", callbackAuth: "token", signatureSecrets: [], callbackToken: TOKEN },
  { id: "100", callbackAuth: "none", signatureSecrets: [] },
]

/** The callback of the vendor's documentation, with status `uploaded`. */
export const uploaded = (changes: object = {}): Record<string, unknown> => ({
  id: ARCHIVE_ID,
  event: "archive",
  createdAt: 1_384_221_380_000,
  duration: 0,
  name: "Foo",
  partnerId: 100,
  reason: "",
  sessionId: "2_MX40NzIwMzJ-flR1ZSBPERUDIwMTN-MC45NDQ2MzE2NH4",
  size: 18_023_312,
  status: "uploaded",
  password: PASSWORD,
  ...changes,
})

export const sha256 = (data: string | Buffer): string => createHash("sha256").update(data).digest("hex")

/** An Authorization header as the vendor makes it. */
export async function sign(
  body: string,
  { secret = SECRET, issuedAt = Date.now() / 1_000, claims = {} as object, alg = "HS256" } = {},
): Promise<string> {
  const jwt = await new SignJWT({ iss: "Vonage", jti: "1", payload_hash: sha256(body), ...claims })
    .setProtectedHeader({ alg, typ: "JWT" })
    .setIssuedAt(Math.floor(issuedAt))
    .sign(Buffer.from(secret))
  return `Bearer ${jwt}`
}

export interface TestApp {
  readonly base: string
  readonly port: number
  /** The enqueued jobs. */
  readonly jobs: JobPayload[]
  readonly logs: Record<string, unknown>[]
  /** Posts `body` (an object as JSON) to `path`. */
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>
  metrics(): Promise<string>
  /** Drains the app as a shutdown does. */
  drain(): Promise<void>
  close(): Promise<void>
}

/** The real application on a port of its own. Jobs go into an array, unless `enqueue` does something else with them. */
export async function startApp(
  options: {
    enqueue?: (payload: JobPayload) => Promise<Enqueued>
    duplicateOf?: (jobId: string) => Promise<DuplicateOf | null>
    limits?: Partial<ServerLimits>
    networks?: Networks
    proxies?: TrustedProxies
    wasRemoved?: (id: string) => boolean
  } = {},
): Promise<TestApp> {
  const jobs: JobPayload[] = []
  const logs: Record<string, unknown>[] = []
  const registry = createRegistry()
  const logger = createLogger("ingest", "debug", { write: (line) => void logs.push(JSON.parse(line)) })
  const projects = new Map(PROJECTS.map((project) => [project.id, project]))
  let draining = false
  const app = createApp({
    projects: {
      get: (id) => projects.get(id),
      ids: [...projects.keys()],
      ...(options.wasRemoved && { wasRemoved: options.wasRemoved }),
    },
    producer: {
      enqueue:
        options.enqueue ??
        (async (payload) => {
          const jobId = jobIdOf(payload)
          if (jobs.some((job) => jobIdOf(job) === jobId)) return { outcome: "duplicate", jobId }
          jobs.push(payload)
          return { outcome: "enqueued", jobId }
        }),
    },
    ...(options.duplicateOf && { duplicateOf: options.duplicateOf }),
    registry,
    logger,
    authentication: {
      maxAgeMs: 25 * 3_600_000,
      ...(options.networks && { networks: options.networks }),
    },
    draining: () => draining,
    ...(options.proxies && { proxies: options.proxies }),
  })
  const { networks, proxies, limits = {} } = options
  const { server, drain } = createLimitedServer(app, {
    limits,
    admits: (address) => networks?.has(address) !== false || proxies?.has(address) === true,
    isProxy: (address) => proxies?.has(address) === true,
    onCut: createCutRecorder(registry, logger),
  })
  await listen(server, 0, "127.0.0.1")
  const { port } = server.address() as AddressInfo
  const base = `http://127.0.0.1:${port}`
  return {
    base,
    port,
    jobs,
    logs,
    post: (path, body, headers = {}) =>
      fetch(`${base}${path}`, {
        method: "POST",
        body:
          typeof body === "string" || body instanceof Uint8Array ? (body as string) : JSON.stringify(body),
        headers: { "content-type": "application/json", ...headers },
      }),
    metrics: () => registry.metrics(),
    drain() {
      draining = true
      return drain()
    },
    async close() {
      server.closeAllConnections()
      await drain()
    },
  }
}

/** The body of a problem document, once its form is checked. */
export async function problemOf(response: Response): Promise<{
  title: string
  status: number
  detail: string
  errors?: { pointer: string; detail: string }[]
}> {
  if (!response.headers.get("content-type")?.startsWith("application/problem+json"))
    throw new Error(`${response.status} ${response.headers.get("content-type")}: ${await response.text()}`)
  const problem = (await response.json()) as Awaited<ReturnType<typeof problemOf>>
  if (problem.status !== response.status)
    throw new Error(`${problem.status} in an answer of ${response.status}`)
  return problem
}
