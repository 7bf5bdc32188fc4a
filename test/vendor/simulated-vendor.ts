/** Both platforms' REST APIs, simulated in this process, with what a customer of each needs to use them. */
import { createPublicKey, generateKeyPairSync } from "node:crypto"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { openStore } from "@unseal/archive/store/open"
import { createRecordingCloud, type RecordingCloud } from "@unseal/simulator/cloud"
import { createCertificate } from "@unseal/simulator/recording/openssl"
import { type RestServer, type RestServerOptions, startRestServer } from "@unseal/simulator/rest/server"
import { type S3Server, startS3Server } from "@unseal/simulator/s3/http/server"
import { createVendorClient, type VendorClient, type VendorCredentials } from "@unseal/vendor/client"
import type { Platform } from "@unseal/vendor/platform"
import { poisoned } from "../harness/poisoned.ts"
import { S3_CREDENTIAL } from "../harness/stores.ts"

export const API_SECRET = "canary-api-secret-0123456789"
export const BUCKET = "archives"

export interface SimulatedVendor {
  readonly platform: Platform
  readonly projectId: string
  readonly cloud: RecordingCloud
  readonly rest: RestServer
  /** Of the customer, with the bucket `BUCKET`; its credential is `S3_CREDENTIAL`. */
  readonly s3: S3Server
  /** Removed with the rest. */
  readonly directory: string
  readonly certificateFile: string
  readonly keyFile: string
  readonly client: VendorClient
  /** Settings with which a command reaches it. */
  readonly env: Readonly<Record<string, string>>
  close(): Promise<void>
}

export async function startSimulatedVendor(
  platform: Platform,
  options: Pick<RestServerOptions, "refuse" | "now"> = {},
): Promise<SimulatedVendor> {
  const directory = await mkdtemp(join(tmpdir(), "unseal-vendor-"))
  const certificate = { certificateFile: join(directory, "cert.pem"), keyFile: join(directory, "key.pem") }
  await createCertificate(certificate)
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = S3_CREDENTIAL
  const s3 = await startS3Server({ credentials: [{ accessKeyId, secretAccessKey }], buckets: [BUCKET] })
  const url = `s3://${BUCKET}?${new URLSearchParams({ endpoint: s3.url })}`
  const store = poisoned(await openStore(url, { env: {}, credentials: { accessKeyId, secretAccessKey } }))
  const projectId = platform === "opentok" ? "123456" : "78d335fa-323d-0114-9c3d-d6f0d48968cf"
  const cloud = createRecordingCloud({ certificate: null, store, projectId })
  const { given, expected, env } = await credentialsOf(platform, directory)
  const rest = await startRestServer({ projectId, credentials: expected, cloud, ...options })
  return {
    ...{ platform, projectId, cloud, rest, s3, directory, ...certificate },
    client: createVendorClient({ platform, projectId, credentials: given, baseUrl: rest.url, baseMs: 1 }),
    env: { ...env, UNSEAL_PROJECT_ID: projectId, UNSEAL_API_URL: rest.url },
    async close() {
      await rest.close()
      await store.close()
      await s3.close()
      await rm(directory, { recursive: true })
    },
  }
}

async function credentialsOf(platform: Platform, directory: string) {
  if (platform === "opentok") {
    const given: VendorCredentials = { scheme: "opentok", apiSecret: API_SECRET }
    return {
      given,
      expected: { scheme: "opentok", apiSecret: API_SECRET } as const,
      env: { UNSEAL_API_SECRET: API_SECRET },
    }
  }
  const file = join(directory, "application.pem")
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
  await writeFile(file, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 })
  const given: VendorCredentials = { scheme: "vonage", privateKey: await readFile(file, "utf8") }
  const publicKey = createPublicKey(privateKey).export({ type: "spki", format: "pem" }).toString()
  return {
    given,
    expected: { scheme: "vonage", publicKey } as const,
    env: { UNSEAL_APPLICATION_KEY_FILE: file },
  }
}
