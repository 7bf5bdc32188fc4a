/** The stores of a whole system: one for the simulated cloud's uploads, and one for the plaintext. */
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { BlobServiceClient } from "@azure/storage-blob"
import { startAzurite } from "./stores/azurite.ts"

export type StoreKind = "s3" | "azure" | "file"

/** Made up for one run, on loopback only. */
export const S3_CREDENTIAL = {
  AWS_ACCESS_KEY_ID: "unsealdemo",
  AWS_SECRET_ACCESS_KEY: "unseal-demo-secret-key",
}

/** The vendor's own credential for its uploads, likewise made up. */
export const VENDOR_CREDENTIAL = {
  AWS_ACCESS_KEY_ID: "simulatedvendor",
  AWS_SECRET_ACCESS_KEY: "simulated-vendor-secret-key",
}

export const SOURCE_NAME = "recordings"
export const DESTINATION_NAME = "decrypted"

export interface SystemStores {
  readonly source: string
  readonly destination: string
  /** The environment that processes need to use them. */
  readonly env: Readonly<Record<string, string>>
  close(): Promise<void>
}

/** Stores on the simulator's own S3 server, once it listens on `port`. */
export function s3Stores(port: number): SystemStores {
  const parameters = new URLSearchParams({
    endpoint: `http://127.0.0.1:${port}`,
    region: "us-east-1",
    pathStyle: "true",
  })
  return {
    source: `s3://${SOURCE_NAME}?${parameters}`,
    destination: `s3://${DESTINATION_NAME}?${parameters}`,
    env: S3_CREDENTIAL,
    close: async () => {},
  }
}

/** Two directories below `directory`. */
export async function fileStores(directory: string): Promise<SystemStores> {
  const [source, destination] = [join(directory, SOURCE_NAME), join(directory, DESTINATION_NAME)]
  for (const path of [source, destination]) await mkdir(path, { recursive: true })
  return {
    source: pathToFileURL(source).href,
    destination: pathToFileURL(destination).href,
    env: {},
    close: async () => {},
  }
}

/** Two containers on an Azurite of their own. */
export async function azureStores(): Promise<SystemStores> {
  const azurite = await startAzurite()
  const service = BlobServiceClient.fromConnectionString(azurite.connectionString)
  for (const name of [SOURCE_NAME, DESTINATION_NAME]) await service.createContainer(name)
  const parameters = new URLSearchParams({ account: azurite.account, endpoint: azurite.url })
  return {
    source: `azure://${SOURCE_NAME}?${parameters}`,
    destination: `azure://${DESTINATION_NAME}?${parameters}`,
    env: { AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString },
    close: () => azurite.close(),
  }
}
