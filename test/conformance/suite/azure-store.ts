/** Azure stores as the adapter opens them, without retries. */

import { openAzureStore } from "@unseal/archive/store/azure/store"
import type { OpenedStore } from "@unseal/archive/store/contract"
import type { AzureStoreUrl } from "@unseal/archive/store/url"
import { poisoned } from "../../harness/poisoned.ts"

export const PART = 349 * 752

export async function open(
  url: Omit<AzureStoreUrl, "kind">,
  env: Record<string, string>,
  idleTimeoutMs = 30_000,
): Promise<OpenedStore> {
  return poisoned(
    await openAzureStore({ kind: "azure", ...url }, { partSizeBytes: PART, idleTimeoutMs, env }),
  )
}
