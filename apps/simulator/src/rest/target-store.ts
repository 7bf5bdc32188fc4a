import type { OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import type { StorageRequest } from "./storage-request.ts"

/** Opens the store that a storage request names, with only its credentials. The region of a bucket is us-east-1. */
export function openTarget(target: Pick<StorageRequest, "type" | "config">): Promise<OpenedStore> {
  const { type, config } = target as StorageRequest
  if (type === "s3") {
    const parameters = new URLSearchParams({ region: "us-east-1" })
    if (config.endpoint !== undefined) parameters.set("endpoint", config.endpoint)
    return openStore(`s3://${config.bucket}?${parameters}`, {
      env: {},
      credentials: { accessKeyId: config.accessKey, secretAccessKey: config.secretKey },
    })
  }
  const { accountName, accountKey, container, domain = "core.windows.net" } = config
  const parameters = new URLSearchParams({
    account: accountName,
    endpoint: `https://${accountName}.blob.${domain}`,
  })
  return openStore(`azure://${container}?${parameters}`, {
    env: { AZURE_STORAGE_ACCOUNT: accountName, AZURE_STORAGE_KEY: accountKey },
  })
}
