import { readFileSync } from "node:fs"
import { isIP } from "node:net"
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3"
import { UnsealError } from "../../../errors.ts"
import { readProxies } from "../../http/proxy.ts"
import { keyUnder, whatIsWrongWithEtag } from "../../identity.ts"
import type { StoreNotice } from "../../notices.ts"
import type { AdapterOptions } from "../../options.ts"
import { type S3StoreUrl, StoreUrlError } from "../../url.ts"
import { placementHeaders } from "../../url-parameters.ts"
import { createCapabilities, type Protection, type S3Capabilities } from "../capabilities.ts"
import { createObjectRequests, type ObjectRequests } from "../object-requests.ts"
import { createAccess } from "./access.ts"
import { createCredentials } from "./credentials.ts"
import { S3Transport } from "./transport.ts"

/** A bucket, for the adapter's calls. */
export interface S3Bucket {
  /** Makes a call of the SDK. Repeats it if the store's refusal says what to change. */
  call<Result>(request: (client: S3Client) => Promise<Result>, signal?: AbortSignal): Promise<Result>
  destroy(): void
  /** Whether the last look that found nothing was denied, so that there may be an invisible object. */
  readonly isBlind: boolean
  turnBlind(): void
  notify(notice: StoreNotice): void
  /** The store reported a missing key. */
  seeMissing(): void
  readonly objects: ObjectRequests
  readonly capabilities: S3Capabilities
  readonly name: string
  readonly prefix: string
  readonly location: string
}

/** The two parameters of every SDK call on an object. */
export const objectIn = (bucket: S3Bucket, key: string) => ({
  Bucket: bucket.name,
  Key: keyUnder(bucket.prefix, key),
})

/** For messages: `s3://bucket/prefix/key`. */
export const whereIn = (bucket: S3Bucket, key: string): string =>
  `s3://${bucket.name}/${keyUnder(bucket.prefix, key)}`

/** An ETag without quotes, which some stores omit in some answers. */
export const bareEtag = (etag: string | undefined): string => etag?.replaceAll('"', "") ?? ""

/**
 * The bare ETag of an answer to `operation` on `where`. Throws `ERR_STORE_UNAVAILABLE` if it does not identify one version byte
 * for byte: `If-Match` never matches a weak one.
 */
export function strongEtag(etag: string | undefined, operation: string, where: string): string {
  const wrong = whatIsWrongWithEtag(etag)
  if (wrong === null) return bareEtag(etag)
  throw new UnsealError("ERR_STORE_UNAVAILABLE", `${operation} of ${where} ${wrong}`)
}

/** Opens the bucket's client. Sends nothing. Throws `StoreUrlError` if no region is known for AWS itself. */
export async function openBucket(url: S3StoreUrl, options: AdapterOptions): Promise<S3Bucket> {
  const endpoint = url.endpoint ?? options.env.AWS_ENDPOINT_URL_S3 ?? options.env.AWS_ENDPOINT_URL
  const { idleTimeoutMs } = options
  const limits = { connectTimeoutMs: Math.min(5_000, idleTimeoutMs), idleTimeoutMs }
  const routes = { findProxy: readProxies(options.env), ca: readBundle(options.env) }
  const transport = new S3Transport(limits, routes, options.onExchange)
  let config = clientConfig(url, endpoint, options, transport)
  const probe = new S3Client(config)
  // The SDK's own chain (environment, profile) takes precedence. Other stores than AWS use the region only for the signature.
  if (!url.region && !(await knowsRegion(probe))) {
    if (!endpoint)
      throw new StoreUrlError(
        `no region is known for s3://${url.bucket}: add region=… to the URL or set AWS_REGION`,
      )
    config = { ...config, region: "us-east-1" }
  }
  const location = `s3://${keyUnder(url.bucket, url.prefix).replace(/\/$/, "")}`
  const { onNotice = () => {} } = options
  const placement = placementHeaders(url)
  const access = createAccess(url.bucket, config, placement, onNotice)
  const capabilities = createCapabilities(await protectionFor(url, options))
  let isBlind = false
  return {
    get isBlind() {
      return isBlind
    },
    notify: onNotice,
    turnBlind() {
      isBlind = true
      onNotice({ what: "blind" })
    },
    seeMissing() {
      isBlind = false
      capabilities.noteListing(true)
    },
    call: (request, signal) => access.corrected(() => request(access.client), signal),
    destroy: () => transport.destroy(),
    objects: createObjectRequests(access, placement, transport),
    capabilities,
    name: url.bucket,
    prefix: url.prefix,
    location,
  }
}

/** AWS_REQUEST_CHECKSUM_CALCULATION, or the profile's equivalent. A bucket that requires a checksum gets one anyway. */
async function protectionFor(url: S3StoreUrl, { env }: AdapterOptions): Promise<Protection> {
  const { requestChecksumCalculation } = new S3Client(url.profile ? { profile: url.profile } : {}).config
  const wanted = env.AWS_REQUEST_CHECKSUM_CALCULATION ?? (await requestChecksumCalculation())
  return wanted.toLowerCase() === "when_required" ? "none" : "crc32"
}

/** The certificates that the AWS CLI and SDKs use instead of the system's. */
function readBundle({ AWS_CA_BUNDLE: path }: AdapterOptions["env"]): string | undefined {
  if (!path) return undefined
  try {
    const bundle = readFileSync(path, "utf8")
    if (bundle.includes("-----BEGIN CERTIFICATE-----")) return bundle
  } catch (error) {
    throw new StoreUrlError(
      `AWS_CA_BUNDLE names ${path}, which can't be read (${(error as { code?: string }).code})`,
    )
  }
  throw new StoreUrlError(`AWS_CA_BUNDLE names ${path}, which holds no certificate (PEM)`)
}

const knowsRegion = (client: S3Client): Promise<boolean> =>
  client.config.region().then(
    () => true,
    () => false,
  )

function clientConfig(
  url: S3StoreUrl,
  endpoint: string | undefined,
  { env, credentials }: AdapterOptions,
  transport: S3Transport,
): S3ClientConfig {
  return {
    ...(url.region ? { region: url.region } : {}),
    ...(url.endpoint ? { endpoint: url.endpoint } : {}),
    ...(url.profile ? { profile: url.profile } : {}),
    credentials: credentials ?? createCredentials(url.profile, env),
    forcePathStyle: url.pathStyle ?? (endpoint !== undefined && isLocalOrAddress(endpoint)),
    // `withRetries` retries. Two layers would multiply.
    maxAttempts: 1,
    // Otherwise the SDK warns about every failed upload on the console, although an error already reports it.
    logger: SILENT,
    // With this header, the SDK opens a separate connection for each request.
    expectContinueHeader: false,
    // A ranged answer has no checksum to validate.
    ...(env.AWS_RESPONSE_CHECKSUM_VALIDATION ? {} : { responseChecksumValidation: "WHEN_REQUIRED" as const }),
    // Stores other than AWS refuse the trailer with the SDK's own checksums.
    ...(endpoint && !env.AWS_REQUEST_CHECKSUM_CALCULATION
      ? { requestChecksumCalculation: "WHEN_REQUIRED" as const }
      : {}),
    requestHandler: transport,
  }
}

const SILENT = { trace() {}, debug() {}, info() {}, warn() {}, error() {} }

function isLocalOrAddress(endpoint: string): boolean {
  const host = URL.parse(endpoint)?.hostname.replaceAll(/[[\]]/g, "") ?? ""
  return host === "localhost" || host.endsWith(".localhost") || isIP(host) !== 0
}
