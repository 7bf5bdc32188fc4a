import { randomBytes } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { Credential } from "../access/authorization.ts"
import { Policies, type PolicyDocument } from "../access/policies.ts"
import { type Operation, OperationLog } from "../faults/log.ts"
import { FaultPlan } from "../faults/plan.ts"
import { type QuirkName, Quirks } from "../quirks/quirks.ts"
import { type ArchivalClass, Archives } from "../storage/archival.ts"
import { ObjectFiles } from "../storage/object-files.ts"
import { ObjectStore } from "../storage/object-store.ts"
import { MultipartUploads } from "../storage/uploads.ts"
import { serveRequest } from "./request-handler.ts"

export interface S3ServerOptions {
  /** Default 127.0.0.1. */
  readonly host?: string
  /** Default 0: any free port. */
  readonly port?: number
  /** Who may do everything, unless `policies` limits them. Everybody else is denied. */
  readonly credentials: readonly Credential[]
  /** Buckets that exist from the start. */
  readonly buckets: readonly string[]
  /** The parent of a new directory for the object bytes, which `close` removes. Default: the system's temporary directory. */
  readonly directory?: string
  /** The only region that signatures may name. Default us-east-1. */
  readonly region?: string
  /** Host names under which `<bucket>.<name>` addresses a bucket. Default `localhost`. */
  readonly domains?: readonly string[]
  /** `random` avoids the cost of MD5: ETags then identify versions, but not content. Default `md5`. */
  readonly etags?: "md5" | "random"
  /** The answer to a Complete of a completed upload: 404 NoSuchUpload, or the first reply again. Default `refuse`. */
  readonly repeatedComplete?: "refuse" | "repeat"
  /** Differences between the store and S3. They can be changed later. Default none. */
  readonly quirks?: readonly QuirkName[]
  /** Access keys that quirks do not affect, such as the vendor's, whose uploads are not under test. */
  readonly exemptFromQuirks?: readonly string[]
  /** What the owner of an access key may do, if not everything. Policies can be changed later. */
  readonly policies?: Readonly<Record<string, PolicyDocument>>
  /** Seeds the random choices of faults. Default 1. */
  readonly seed?: number
  /** How long a restore from an archival class takes, in milliseconds. It can be changed later. Default 1000. */
  readonly restoreDelayMs?: number
  /** How many requests the operation log holds. Default 10,000. */
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
  /** The total size of the parts. */
  readonly bytes: number
}

export interface S3Server {
  /** The endpoint, without a slash at its end. */
  readonly url: string
  readonly port: number
  readonly operations: OperationLog
  readonly faults: FaultPlan
  /** Policies by access key. A key without one may do everything. */
  readonly policies: Policies
  /** The store's current differences from S3. */
  readonly quirks: Quirks
  /** The restores from archival classes. */
  readonly archives: Archives
  /** Moves an object to an archival class, as a lifecycle rule does. Throws if there is none under `key`. */
  archive(bucket: string, key: string, storageClass: ArchivalClass): void
  /** Uploads neither completed nor aborted, in all buckets, by key and age. */
  openUploads(): readonly OpenUpload[]
  /** Closes every connection, hanging ones included, and removes the object bytes. */
  close(): Promise<void>
}

/**
 * Starts an S3-compatible server on plain HTTP. It checks signatures, conditions and limits as S3 does, and answers
 * NotImplemented where it lacks a feature. Objects in archival classes must be restored before they can be read. A fault plan can make requests fail. State is in memory, object bytes are on disk.
 * It verifies all five additional checksums. Unlike S3 it computes no checksum unasked, and has no versioning and no
 * access control lists. Conditional writes never race: S3 may answer 409 to one of two at once.
 */
export async function startS3Server(options: S3ServerOptions): Promise<S3Server> {
  const { host = "127.0.0.1", etags = "md5", region = "us-east-1", domains = ["localhost"] } = options
  const files = await ObjectFiles.create(options.directory)
  const store = new ObjectStore(files)
  const uploads = new MultipartUploads(files)
  const archives = new Archives(options.restoreDelayMs ?? 1_000)
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
      archives,
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
  // Some uploads are slow on purpose. And an idle connection that closes just as it is reused would be an unplanned fault.
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
    archives,
    archive: (bucket, key, storageClass) => archives.move(store.object(bucket, key), storageClass),
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
