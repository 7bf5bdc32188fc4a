import { randomUUID } from "node:crypto"
import { freePort } from "../../harness/network/free-port.ts"
import { createRawContainer } from "../../harness/stores/azure-rest.ts"
import { type Azurite, startAzurite } from "../../harness/stores/azurite.ts"
import { describeStore } from "../store-suite.ts"
import { open, PART } from "../suite/azure-store.ts"

describeStore("the Azure store on Azurite", async () => {
  const azurite: Azurite = await startAzurite()
  const raw = await createRawContainer(azurite, `conformance-${randomUUID()}`)
  const env = { AZURE_STORAGE_KEY: azurite.key }
  const url = { container: raw.name, prefix: "", endpoint: azurite.url }
  return {
    store: await open(url, env),
    reopen: () => open(url, env),
    put: (key, bytes, metadata) => raw.put(key, bytes, metadata),
    get: async (key) => (await raw.get(key))?.bytes ?? null,
    remove: (key) => raw.remove(key),
    openUploadCount: async () => (await raw.uncommitted()).length,
    minimumPartSize: PART,
    missing: await open({ ...url, container: "no-such-container" }, env),
    denied: await open(url, { AZURE_STORAGE_KEY: Buffer.alloc(64, 1).toString("base64") }),
    unreachable: await open(
      { ...url, endpoint: `http://127.0.0.1:${await freePort()}/${azurite.account}` },
      env,
    ),
    close: () => azurite.close(),
  }
})
