/**
 * A third-party server in the form that the conformance suite needs. Everything that is not under test goes by signed requests.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openS3Store } from "@unseal/archive/store/s3/store"
import type { S3StoreUrl } from "@unseal/archive/store/url"
import { poisoned } from "@unseal/test/harness/poisoned"
import { rawBucket } from "../conformance/s3/raw.ts"
import type { StoreUnderTest } from "../conformance/suite/store-under-test.ts"
import { freePorts } from "../harness/network/free-port.ts"
import { type PlainRequest, type PlainResponse, send, signed } from "../s3-server/signed-request.ts"

export interface ForeignS3 {
  readonly endpoint: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  close(): Promise<void>
}

/** The smallest part of an upload to S3, in bytes: 5 MiB, rounded up to whole packets and cipher blocks. */
export const PART = 6972 * 752
const PREFIX = "recordings/2026"

/** One request, signed for `server` without the adapter. */
export async function ask(server: ForeignS3, request: PlainRequest): Promise<PlainResponse> {
  return send(server.endpoint, await signed(server.endpoint, request, server))
}

export async function createBucket(server: ForeignS3, bucket: string): Promise<void> {
  const { status, body } = await ask(server, { method: "PUT", path: `/${bucket}` })
  if (status !== 200) throw new Error(`CreateBucket ${bucket} answered ${status}: ${body.toString("utf8")}`)
}

/** Uploads neither completed nor aborted. */
async function countOpenUploads(server: ForeignS3, bucket: string): Promise<number> {
  const request = { method: "GET", path: `/${bucket}`, query: { uploads: "" } }
  const { status, body } = await ask(server, request)
  if (status !== 200) throw new Error(`ListMultipartUploads answered ${status}: ${body.toString("utf8")}`)
  return body.toString("utf8").split("<Upload>").length - 1
}

/** A new bucket of `server`. `endpoint` is where the adapter goes to instead, when something stands between. */
export async function foreignStore(
  server: ForeignS3,
  bucket: string,
  endpoint = server.endpoint,
): Promise<StoreUnderTest> {
  await createBucket(server, bucket)
  const directory = await mkdtemp(join(tmpdir(), "unseal-foreign-"))
  const file = join(directory, "credentials")
  const profile = (name: string, secret: string) =>
    `[${name}]\naws_access_key_id = ${server.accessKeyId}\naws_secret_access_key = ${secret}\n`
  await writeFile(file, profile("right", server.secretAccessKey) + profile("wrong", "not the secret"))
  const env = { AWS_SHARED_CREDENTIALS_FILE: file, AWS_CONFIG_FILE: join(directory, "config") }
  const stores: OpenedStore[] = []
  const open = async (url: Partial<S3StoreUrl> = {}) => {
    const full: S3StoreUrl = {
      ...({ kind: "s3", bucket, prefix: PREFIX, endpoint, region: "us-east-1", profile: "right" } as const),
      ...url,
    }
    const store = poisoned(await openS3Store(full, { partSizeBytes: PART, idleTimeoutMs: 30_000, env }))
    stores.push(store)
    return store
  }
  const raw = rawBucket({ ...server, bucket })
  const [nobody] = await freePorts(1)
  return {
    store: await open(),
    reopen: () => open(),
    put: (key, bytes, metadata) => raw.put(`${PREFIX}/${key}`, bytes, metadata),
    get: (key) => raw.get(`${PREFIX}/${key}`),
    remove: (key) => raw.remove(`${PREFIX}/${key}`),
    openUploadCount: () => countOpenUploads(server, bucket),
    minimumPartSize: PART,
    missing: await open({ bucket: "no-such-bucket" }),
    denied: await open({ profile: "wrong" }),
    unreachable: await open({ endpoint: `http://127.0.0.1:${nobody}` }),
    async close() {
      await Promise.all(stores.map((store) => store.close()))
      await rm(directory, { recursive: true })
    },
  }
}
