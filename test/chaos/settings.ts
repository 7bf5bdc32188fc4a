/** What all worlds have in common, and the settings of their processes. */
import type { SystemStores } from "@unseal/test/harness/stores"
import type { Protection } from "../rig/settings.ts"

export const PROJECT = "123456"
/** The project with the trouble, in worlds of two. */
export const SECOND_PROJECT = "654321"
export const QUEUE = "unseal"
/** Short, so that waiting for an expired lock takes seconds. */
export const LOCK_MS = 3_000
export const STALL_CHECK_MS = 1_000
export const PART_SIZE = 5 * 1024 * 1024
export const PARTS_IN_FLIGHT = 4

export const SIGNATURE_SECRET = "chaos-signature-secret-0123456789"

/** The second project's own credential, so that its permissions are its own. */
export const SECOND_CREDENTIAL = {
  accessKeyId: "SECONDPROJECT",
  secretAccessKey: "second-project-secret-key-0123456789",
}

export type Env = Readonly<Record<string, string>>

/** Settings of every process. `projects` defines its projects. */
export const settingsOf = (redisUrl: string, protectionsOff: readonly Protection[], projects: Env): Env => ({
  REDIS_URL: redisUrl,
  UNSEAL_QUEUE: QUEUE,
  UNSEAL_HOST: "127.0.0.1",
  UNSEAL_ADMIN_PORT: "0",
  RIG: "1",
  ...(protectionsOff.length > 0 && { RIG_PROTECTIONS_OFF: protectionsOff.join(",") }),
  ...projects,
})

/** A worker's additional settings. */
export const workerSettings = (stores: SystemStores): Env => ({
  ...stores.env,
  UNSEAL_CONCURRENCY: "4",
  UNSEAL_PARTS_IN_FLIGHT: String(PARTS_IN_FLIGHT),
  UNSEAL_PART_SIZE_BYTES: String(PART_SIZE),
  UNSEAL_LOCK_MS: String(LOCK_MS),
  UNSEAL_STALL_CHECK_MS: String(STALL_CHECK_MS),
})

/** Where a project's plaintext goes. */
const DESTINATION_KEY = "plain/{projectId}/{archiveId}/archive.ts"

/** A project's stores and keys. */
export interface ProjectSetup {
  readonly id: string
  readonly source: string
  readonly destination: string
  readonly keysDirectory: string
}

/** The only project of most worlds, as a worker's settings. */
export const singleProject = ({ source, destination, keysDirectory }: ProjectSetup): Env => ({
  UNSEAL_SOURCE: source,
  UNSEAL_DESTINATION: destination,
  UNSEAL_DESTINATION_KEY: DESTINATION_KEY,
  UNSEAL_KEYS: keysDirectory,
})

/** A projects file for ingest and workers. */
export const projectsFile = (projects: readonly ProjectSetup[], signatureSecretFile: string): string =>
  JSON.stringify({
    projects: projects.map(({ id, source, destination, keysDirectory }) => ({
      ...{ id, source, destination, destinationKey: DESTINATION_KEY, keys: keysDirectory },
      signatureSecretFile,
    })),
  })
