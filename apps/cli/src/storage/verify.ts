import { randomUUID } from "node:crypto"
import { crc32 } from "node:zlib"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import type { AzureTarget, S3Target } from "@unseal/vendor/upload-target"
import { env } from "../config.ts"
import { sayNotices } from "../terminal/store-notices.ts"

const BODY = new TextEncoder().encode("written by unseal storage set --verify; may be removed\n")

/**
 * Writes a small object to `target`, where the project's archives will go, with exactly the vendor's future credentials, and
 * removes it again. Throws the store's errors. Resolves to the object's name if it could not be removed: write-only credentials
 * are good ones, because the vendor only writes.
 */
export async function verifyTarget(
  target: S3Target | AzureTarget,
  options: { readonly projectId: string; readonly region?: string | undefined },
  signal: AbortSignal,
): Promise<{ left: string | null }> {
  const store = await openTarget(target, options.region)
  try {
    const key = `${options.projectId}/unseal-verify-${randomUUID()}.txt`
    const writer = await store.create(
      key,
      BODY.length,
      { contentType: "text/plain", metadata: {}, existing: "replace" },
      signal,
    )
    try {
      const part = await writer.writePart(1, [BODY], crc32(BODY), signal)
      await writer.complete(new Map([[1, part]]), signal)
    } catch (error) {
      await writer.abort().catch(() => {})
      throw error
    }
    try {
      await store.remove(key, signal)
      return { left: null }
    } catch {
      signal.throwIfAborted()
      return { left: `${store.location}/${key}` }
    }
  } finally {
    await store.close()
  }
}

/** The store as the vendor will see it. Other endpoints and credentials of the environment are ignored. */
function openTarget({ type, config }: S3Target | AzureTarget, region?: string): Promise<OpenedStore> {
  if (type === "s3") {
    const where = region ?? (env.AWS_REGION || env.AWS_DEFAULT_REGION || "us-east-1")
    const endpoint = config.endpoint ?? `https://s3.${where}.amazonaws.com`
    const url = `s3://${config.bucket}?${new URLSearchParams({ region: where, endpoint })}`
    return openStore(url, {
      env: {},
      onNotice: sayNotices(url),
      credentials: { accessKeyId: config.accessKey, secretAccessKey: config.secretKey },
    })
  }
  const { accountName, accountKey, container, domain = "core.windows.net" } = config
  const endpoint = `https://${accountName}.blob.${domain}`
  return openStore(`azure://${container}?${new URLSearchParams({ account: accountName, endpoint })}`, {
    env: { AZURE_STORAGE_ACCOUNT: accountName, AZURE_STORAGE_KEY: accountKey },
  })
}
