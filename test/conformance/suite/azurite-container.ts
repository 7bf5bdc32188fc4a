/** An Azurite with a container, and stores of it: a direct one, and one behind a faulty proxy. */
import { randomUUID } from "node:crypto"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { afterAll, afterEach, beforeAll } from "vitest"
import { type FaultyProxy, startFaultyProxy } from "../../harness/network/faulty-proxy.ts"
import { createRawContainer, type RawContainer } from "../../harness/stores/azure-rest.ts"
import { type Azurite, startAzurite } from "../../harness/stores/azurite.ts"
import { open, PART } from "./azure-store.ts"
import { sampleBytes } from "./bytes.ts"

export const bytes = sampleBytes("azure", 2 * PART + 752)

export let azurite: Azurite
export let raw: RawContainer
export let proxy: FaultyProxy
export let url: { container: string; prefix: string; endpoint: string }
export let env: Record<string, string>
export let store: OpenedStore
export let proxied: OpenedStore

beforeAll(async () => {
  azurite = await startAzurite()
  raw = await createRawContainer(azurite, `own-${randomUUID()}`)
  proxy = await startFaultyProxy(azurite.url)
  url = { container: raw.name, prefix: "some/prefix", endpoint: azurite.url }
  env = { AZURE_STORAGE_KEY: azurite.key }
  store = await open(url, env)
  proxied = await open({ ...url, endpoint: `${proxy.url}/${azurite.account}` }, env, 3_000)
})
afterEach(() => proxy.honest())
afterAll(async () => {
  await proxy?.close()
  await azurite?.close()
})
