import { randomBytes } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { Credential } from "../access/authorization.ts"
import { Policies, type PolicyDocument } from "../access/policies.ts"
import { type Operation, OperationLog } from "../faults/log.ts"
import { FaultPlan } from "../faults/plan.ts"
import { type QuirkName, Quirks } from "../quirks/quirks.ts"
import { ObjectFiles } from "../storage/object-files.ts"
import { ObjectStore } from "../storage/object-store.ts"
import { MultipartUploads } from "../storage/uploads.ts"
import { serveRequest } from "./serving.ts"

export interface S3ServerOptions {
  /** Default 127.0.0.1. */
  readonly host?: string
  /** Default 0: a free one. */
  readonly port?: number
  /** Who may do everything, unless `policies` says otherwise. Anybody else may do nothing. */
  readonly credentials: readonly Credential[]
  /** Buckets that exist from the start. */
  readonly buckets: readonly string[]
  /** Where the object bytes are kept, in a new directory that `close` removes. Default: the system's directory for temporary files. */
  readonly directory?: string
  /** The one region in whose name requests must be signed. Default us-east-1. */
  readonly region?: string
  /** Host names under which `<bucket>.<name>` addresses a bucket. Default `localhost`. */
  readonly domains?: readonly string[]
  /** `random` saves the price of MD5: ETags then still name versions, but not contents. Default `md5`. */
  readonly etags?: "md5" | "random"
  /** What a Complete of a completed upload gets: 404 NoSuchUpload, or the first one's reply again. Default `refuse`. */
  readonly repeatedComplete?: "refuse" | "repeat"
  /** How the store differs from S3; can be changed later. Default none. */
  readonly quirks?: readonly QuirkName[]
  /** Access keys that quirks do not strike: those of the vendor, whose uploads are not the store's clients under test. */
  readonly exemptFromQuirks?: readonly string[]
  /** What the owner of an access key may do, if not everything; can be changed later. */
  readonly policies?: Readonly<Record<string, PolicyDocument>>
  /** Of the faults' random choices. Default 1. */
  readonly seed?: number
  /** Requests that the operation log holds. Default 10,000. */
  readonly logSize?: number
  /** Called with each request once it is answered. */
  readonly log?: (operation: Operation) => void
}

export interface OpenUpload {
  readonly bucket: string
  readonly key: string
  readonly uploadId: string
  readonly initiated: Date
  readonly parts: number
  /** Of the parts. */
  readonly bytes: number
}

export interface S3Server {
  /** The endpoint, without a slash at its end. */
  readonly url: string
  readonly port: number
  readonly operations: OperationLog
  readonly faults: FaultPlan
  /** By access key, what its owner may do. A key that is not here may do everything. */
  readonly policies: Policies
  /** How the store differs from S3 at the moment. */
  readonly quirks: Quirks
  /** Uploads neither completed nor aborted, of all buckets, by key and age. */
  openUploads(): readonly OpenUpload[]
  /** Ends every connection, also hanging ones, and removes the object bytes. */
  close(): Promise<void>
}

/**
 * Starts an S3-compatible server on plain HTTP: signatures, conditions and limits are checked as S3 does, what it does not
 * do it refuses with NotImplemented, and requests can be made to fail by plan. State is in memory, object bytes on disk.
 * All five additional checksums are verified. Unlike S3 it computes none that nobody asked for, knows no versioning and no
 * access control lists, and a conditional write races with nothing (S3 may answer 409 to one of two at once).
 */
export async function startS3Server(options: S3ServerOptions): Promise<S3Server> {
  const { host = "127.0.0.1", etags = "md5", region = "us-east-1", domains = ["localhost"] } = options
  const files = await ObjectFiles.create(options.directory)
  const store = new ObjectStore(files)
  const uploads = new MultipartUploads(files)
  const operations = new OperationLog(options.logSize ?? 10_000)
  const faults = new FaultPlan(options.seed ?? 1)
  const quirks = new Quirks(options.quirks, options.exemptFromQuirks)
  const policies = new Policies(options.policies)
  const context = {
    state: {
      region,
      etags,
      files,
      store,
      uploads,
      ...(options.repeatedComplete === "repeat" && { completed: new Map() }),
    },
    credentials: new Map(options.credentials.map((one) => [one.accessKeyId, one])),
    domains,
    faults,
    policies,
    quirks,
    operations,
    requestPrefix: randomBytes(4).toString("hex").toUpperCase(),
  }
  if (options.log) operations.subscribe(options.log)

  const serving = new Set<Promise<void>>()
  const serve = (continueExpected: boolean) => (incoming: IncomingMessage, response: ServerResponse) => {
    const served = serveRequest(incoming, response, continueExpected, context)
    serving.add(served)
    void served.finally(() => serving.delete(served))
  }
  // Uploads may be slow on purpose, and a kept connection that ends just as it is used again would be an unplanned fault.
  const server = createServer({ requestTimeout: 0, keepAliveTimeout: 60_000, highWaterMark: 256 * 1024 })
  server.on("request", serve(false))
  server.on("checkContinue", serve(true))

  try {
    for (const bucket of options.buckets) store.createBucket(bucket)
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject)
      server.listen(options.port ?? 0, host, resolve)
    })
  } catch (error) {
    await files.destroy()
    throw error
  }
  const { port } = server.address() as AddressInfo

  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
    port,
    operations,
    faults,
    policies,
    quirks,
    openUploads: () =>
      uploads.list().map(({ bucket, key, id, initiated, parts }) => ({
        bucket,
        key,
        uploadId: id,
        initiated,
        parts: parts.size,
        bytes: [...parts.values()].reduce((bytes, part) => bytes + part.file.size, 0),
      })),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
      await Promise.all(serving)
      await files.destroy()
    },
  }
}
