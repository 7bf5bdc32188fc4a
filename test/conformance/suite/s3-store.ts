/** S3 stores of this project's own server. */

import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openS3Store } from "@unseal/archive/store/s3/store"
import type { S3StoreUrl } from "@unseal/archive/store/url"
import { afterAll, beforeAll } from "vitest"
import { startS3Server } from "../../../apps/simulator/src/s3/http/server.ts"
import { poisoned } from "../../harness/poisoned.ts"

export const PART = 6972 * 752
export const PREFIX = "recordings/2026"
export const BUCKET = "archives"
export const accessKeyId = "UNSEALTESTACCESSKEY"
export const secretAccessKey = "canary-secret-access-key-0123456789abcdef"
export const never = new AbortController().signal
export const SOON = { timeout: 20_000 }
export const PLAIN = {
  contentType: "video/mp2t",
  metadata: { "unseal-source-etag": "ours" },
  existing: "fail",
} as const

let base: string
let env: Record<string, string>

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "unseal-s3-store-"))
  const profile = (name: string, secret: string) =>
    `[${name}]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secret}\n`
  const file = join(base, "credentials")
  await writeFile(file, profile("right", secretAccessKey) + profile("wrong", `not-${secretAccessKey}`))
  env = { AWS_SHARED_CREDENTIALS_FILE: file, AWS_CONFIG_FILE: join(base, "config") }
})
afterAll(() => rm(base, { recursive: true }))

export const startServer = () =>
  startS3Server({ credentials: [{ accessKeyId, secretAccessKey }], buckets: [BUCKET] })

export async function open(
  endpoint: string,
  url: Partial<S3StoreUrl> = {},
  idleTimeoutMs = 20_000,
): Promise<OpenedStore> {
  const full: S3StoreUrl = { kind: "s3", bucket: BUCKET, prefix: PREFIX, endpoint, profile: "right", ...url }
  return poisoned(await openS3Store(full, { partSizeBytes: PART, idleTimeoutMs, env }))
}
