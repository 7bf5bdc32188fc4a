/** What all worlds have alike, and what their processes are told. */
import type { Protection } from "@unseal/service/test-settings"
import type { SystemStores } from "@unseal/test/harness/stores"

export const PROJECT = "123456"
export const QUEUE = "unseal"
/** As reliability.md has them. */
export const LOCK_MS = 3_000
export const STALL_CHECK_MS = 1_000
export const PART_SIZE = 5 * 1024 * 1024
export const PARTS_IN_FLIGHT = 4

export const SIGNATURE_SECRET = "chaos-signature-secret-0123456789"

export type Env = Readonly<Record<string, string>>

/** Of every process. */
export const settingsOf = (redisUrl: string, protectionsOff: readonly Protection[]): Env => ({
  REDIS_URL: redisUrl,
  UNSEAL_QUEUE: QUEUE,
  UNSEAL_HOST: "127.0.0.1",
  UNSEAL_ADMIN_PORT: "0",
  UNSEAL_TEST: "1",
  ...(protectionsOff.length > 0 && { UNSEAL_TEST_PROTECTIONS_OFF: protectionsOff.join(",") }),
  UNSEAL_PROJECT_ID: PROJECT,
})

/** What a worker needs beside these. */
export const workerSettings = (stores: SystemStores, keysDirectory: string): Env => ({
  ...stores.env,
  UNSEAL_SOURCE: stores.source,
  UNSEAL_DESTINATION: stores.destination,
  UNSEAL_DESTINATION_KEY: "plain/{projectId}/{archiveId}/archive.ts",
  UNSEAL_KEYS_DIR: keysDirectory,
  UNSEAL_CONCURRENCY: "4",
  UNSEAL_PARTS_IN_FLIGHT: String(PARTS_IN_FLIGHT),
  UNSEAL_PART_SIZE_BYTES: String(PART_SIZE),
  UNSEAL_LOCK_MS: String(LOCK_MS),
  UNSEAL_STALL_CHECK_MS: String(STALL_CHECK_MS),
})
