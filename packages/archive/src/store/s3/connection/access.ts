/**
 * How requests to a bucket are signed, and what the store's refusals teach about it: its clock differs, the bucket is in
 * another region, the credentials have expired. Every later request uses what was learned.
 */
import { HeadObjectCommand, S3Client, type S3ClientConfig } from "@aws-sdk/client-s3"
import { SignatureV4 } from "@smithy/signature-v4"
import type { StoreNotice } from "../../notices.ts"
import type { PlacementHeaders } from "../../url-parameters.ts"
import { headerOf, mayBeRenewed, nameOf, regionOf } from "../facts.ts"
import { Sha256 } from "../sha256.ts"
import type { SdkRequest } from "./transport.ts"

/** Where objects are, and how requests for them are signed. */
export interface Signing {
  /** A request for the object with an empty key. */
  readonly request: SdkRequest
  readonly signer: SignatureV4
}

export interface S3Access {
  /** Sends no request by itself. Replaced after each lesson. */
  readonly client: S3Client
  /** Resolved at the first call after each lesson. */
  signing(): Promise<Signing>
  /** The result of `request`. If a refusal teaches something, repeats the request, once for each kind of lesson. */
  corrected<Result>(request: () => Promise<Result>, signal: AbortSignal | undefined): Promise<Result>
  /** The store's time. */
  now(): Date
}

/** The difference between clocks that is reported. The stores' own limit is 15 minutes. */
const SKEW_THAT_MATTERS_MS = 60_000

/** What was known when a request was signed. */
interface Knowledge {
  readonly region: string | undefined
  readonly clockAheadMs: number
  /** Counts renewals. */
  readonly credentials: number
}

type Lesson = keyof Knowledge

const BEGINNINGS = ["CreateMultipartUploadCommand", "PutObjectCommand"]

export function createAccess(
  bucket: string,
  config: S3ClientConfig,
  placement: PlacementHeaders,
  notify: (notice: StoreNotice) => void,
): S3Access {
  let known: Knowledge = { region: undefined, clockAheadMs: 0, credentials: 0 }
  let client = clientOf(config)
  // Resolved and kept by the first client for all, so that they share one renewal.
  const { credentials } = client.config
  let resolving: Promise<Signing> | undefined
  let renewing: Promise<boolean> | undefined

  /** Does not destroy the old client: others may still wait for its answers, and the connections are shared. */
  function startOver(): void {
    client = clientOf(corrected())
    resolving = undefined
  }

  const corrected = (): S3ClientConfig => ({
    ...config,
    credentials,
    ...(known.region && { region: known.region }),
  })

  /** A client that sends the URL's headers. They must be there before the request is signed. */
  function clientOf(config: S3ClientConfig): S3Client {
    const made = new S3Client(config)
    made.middlewareStack.add(
      (next, { commandName = "" }) =>
        (args) => {
          const { headers } = args.request as { headers: Record<string, string> }
          Object.assign(headers, BEGINNINGS.includes(commandName) ? placement.begin : placement.other)
          return next(args)
        },
      { step: "build", name: "unsealPlacement" },
    )
    return made
  }

  /** What `error` taught beyond what was `used` to sign the request; `null` if nothing. */
  async function learn(error: unknown, used: Knowledge): Promise<Lesson | null> {
    const region = regionOf(error)
    if (region !== undefined) {
      if (known.region !== region && used.region === known.region) {
        known = { ...known, region }
        startOver()
        notify({ what: "other-region", region })
      }
      return used.region === known.region ? null : "region"
    }
    if (nameOf(error) === "RequestTimeTooSkewed") {
      const clockAheadMs = Date.parse(headerOf(error, "date") ?? "") - Date.now()
      if (!(Math.abs(clockAheadMs - used.clockAheadMs) > SKEW_THAT_MATTERS_MS)) return null
      if (Math.abs(clockAheadMs - known.clockAheadMs) > SKEW_THAT_MATTERS_MS) {
        known = { ...known, clockAheadMs }
        notify({ what: "clock-skew", seconds: Math.round(clockAheadMs / 1000) })
      }
      return "clockAheadMs"
    }
    if (!mayBeRenewed(error)) return null
    if (used.credentials < known.credentials) return "credentials"
    renewing ??= renew().finally(() => {
      renewing = undefined
    })
    return (await renewing) ? "credentials" : null
  }

  /** Whether the provider has new credentials. */
  async function renew(): Promise<boolean> {
    const before = await credentials()
    const renewed = await credentials({ forceRefresh: true })
    const same =
      before.accessKeyId === renewed.accessKeyId &&
      before.secretAccessKey === renewed.secretAccessKey &&
      before.sessionToken === renewed.sessionToken
    if (same) return false
    known = { ...known, credentials: known.credentials + 1 }
    return true
  }

  return {
    get client() {
      // The SDK signs by it, too.
      client.config.systemClockOffset = known.clockAheadMs
      return client
    },
    signing() {
      resolving ??= resolveSigning(bucket, corrected()).catch((error: unknown) => {
        resolving = undefined
        throw error
      })
      return resolving
    },
    now: () => new Date(Date.now() + known.clockAheadMs),
    async corrected(request, signal) {
      const learned = new Set<Lesson>()
      for (;;) {
        const used = known
        try {
          return await request()
        } catch (error) {
          if (signal?.aborted) throw error
          const lesson = await learn(error, used)
          if (lesson === null || learned.has(lesson)) throw error
          learned.add(lesson)
        }
      }
    },
  }
}

/** Lets the SDK build and sign a request, and keeps its decisions: endpoint, addressing style, region. */
async function resolveSigning(bucket: string, config: S3ClientConfig): Promise<Signing> {
  const key = "k"
  let built: SdkRequest | undefined
  const client = new S3Client({
    ...config,
    requestHandler: {
      async handle(request: SdkRequest) {
        built = request
        return { response: { statusCode: 200, headers: {}, body: undefined } }
      },
    } as unknown as NonNullable<S3ClientConfig["requestHandler"]>,
  })
  await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }))
  const region = /Credential=[^/]+\/\d{8}\/([^/]+)\//.exec(built?.headers.authorization ?? "")?.[1]
  if (built === undefined || region === undefined) throw new Error("the SDK signed no request")
  return {
    request: { ...built, path: built.path.slice(0, -key.length) },
    signer: new SignatureV4({
      service: "s3",
      region,
      credentials: client.config.credentials,
      sha256: Sha256,
      uriEscapePath: false,
      applyChecksum: false,
    }),
  }
}
