import { isIP } from "node:net"
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3"
import { fromIni } from "@aws-sdk/credential-providers"
import { type AdapterOptions, keyUnder } from "./adapter.ts"
import { createAbilities, type S3Abilities } from "./s3-abilities.ts"
import { createObjectRequests, type ObjectRequests } from "./s3-signed.ts"
import { S3Transport } from "./s3-transport.ts"
import { type S3StoreUrl, StoreUrlError } from "./url.ts"

/** A bucket as the adapter's calls need it. */
export interface S3Bucket {
  readonly client: S3Client
  readonly objects: ObjectRequests
  readonly abilities: S3Abilities
  readonly name: string
  readonly prefix: string
  readonly location: string
}

/** The two parameters that every call of the SDK on an object begins with. */
export const objectIn = (bucket: S3Bucket, key: string) => ({
  Bucket: bucket.name,
  Key: keyUnder(bucket.prefix, key),
})

/** For messages: `s3://bucket/prefix/key`. */
export const whereIn = (bucket: S3Bucket, key: string): string =>
  `s3://${bucket.name}/${keyUnder(bucket.prefix, key)}`

/** An ETag without the quotes, which some stores leave out of some answers. */
export const bareEtag = (etag: string | undefined): string => etag?.replaceAll('"', "") ?? ""

/** Opens the bucket's client. Nothing is sent. `StoreUrlError` if no region is known for AWS itself. */
export async function openBucket(url: S3StoreUrl, options: AdapterOptions): Promise<S3Bucket> {
  const endpoint = url.endpoint ?? options.env.AWS_ENDPOINT_URL_S3 ?? options.env.AWS_ENDPOINT_URL
  const { idleTimeoutMs } = options
  const transport = new S3Transport({ connectTimeoutMs: Math.min(5_000, idleTimeoutMs), idleTimeoutMs })
  let config = clientConfig(url, endpoint, options, transport)
  let client = new S3Client(config)
  // The SDK's own chain (environment, profile) goes first; a store that is not AWS ignores the region but for the signature.
  if (!url.region && !(await knowsRegion(client))) {
    client.destroy()
    if (!endpoint)
      throw new StoreUrlError(
        `no region is known for s3://${url.bucket}: add region=… to the URL or set AWS_REGION`,
      )
    config = { ...config, region: "us-east-1" }
    client = new S3Client(config)
  }
  const location = `s3://${keyUnder(url.bucket, url.prefix).replace(/\/$/, "")}`
  const objects = createObjectRequests(url.bucket, config, transport)
  return { client, objects, abilities: createAbilities(), name: url.bucket, prefix: url.prefix, location }
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
    ...(url.profile ? { profile: url.profile, credentials: profileCredentials(url.profile, env) } : {}),
    ...(credentials ? { credentials } : {}),
    forcePathStyle: url.pathStyle ?? (endpoint !== undefined && isLocalOrAddress(endpoint)),
    // `withRetries` retries; two layers here would multiply.
    maxAttempts: 1,
    // Without one the SDK warns on the console of every failed upload, which is reported by an error already.
    logger: SILENT,
    // The SDK opens a connection of its own for each request with this header.
    expectContinueHeader: false,
    // A ranged answer has no checksum that could be validated.
    ...(env.AWS_RESPONSE_CHECKSUM_VALIDATION ? {} : { responseChecksumValidation: "WHEN_REQUIRED" as const }),
    // Other stores than AWS refuse the trailer in which the SDK sends its own checksums.
    ...(endpoint && !env.AWS_REQUEST_CHECKSUM_CALCULATION
      ? { requestChecksumCalculation: "WHEN_REQUIRED" as const }
      : {}),
    requestHandler: transport,
  }
}

const SILENT = { trace() {}, debug() {}, info() {}, warn() {}, error() {} }

const profileCredentials = (profile: string, env: AdapterOptions["env"]) =>
  fromIni({
    profile,
    ...(env.AWS_SHARED_CREDENTIALS_FILE ? { filepath: env.AWS_SHARED_CREDENTIALS_FILE } : {}),
    ...(env.AWS_CONFIG_FILE ? { configFilepath: env.AWS_CONFIG_FILE } : {}),
  })

function isLocalOrAddress(endpoint: string): boolean {
  const host = URL.parse(endpoint)?.hostname.replaceAll(/[[\]]/g, "") ?? ""
  return host === "localhost" || host.endsWith(".localhost") || isIP(host) !== 0
}
