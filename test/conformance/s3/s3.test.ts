import type { OpenedStore } from "@unseal/archive/store/contract"
import { freePort } from "../../harness/network/free-port.ts"
import { describeStore } from "../store-suite.ts"
import { accessKeyId, BUCKET, open, PART, PREFIX, secretAccessKey, startServer } from "../suite/s3-store.ts"
import type { StoreUnderTest } from "../suite/store-under-test.ts"
import { rawBucket } from "./raw.ts"

async function setup(): Promise<StoreUnderTest> {
  const server = await startServer()
  const raw = rawBucket({ endpoint: server.url, bucket: BUCKET, accessKeyId, secretAccessKey })
  const stores: OpenedStore[] = []
  const opened = async (...parameters: Parameters<typeof open>) => {
    const store = await open(...parameters)
    stores.push(store)
    return store
  }
  return {
    store: await opened(server.url),
    reopen: () => opened(server.url),
    put: (key, bytes, metadata) => raw.put(`${PREFIX}/${key}`, bytes, metadata),
    get: (key) => raw.get(`${PREFIX}/${key}`),
    remove: (key) => raw.remove(`${PREFIX}/${key}`),
    openUploadCount: async () => server.openUploads().length,
    minimumPartSize: PART,
    missing: await opened(server.url, { bucket: "no-such-bucket" }),
    denied: await opened(server.url, { profile: "wrong" }),
    unreachable: await opened(`http://127.0.0.1:${await freePort()}`),
    async close() {
      await Promise.all(stores.map((store) => store.close()))
      await server.close()
    },
  }
}

describeStore("the S3 store on the project's own S3 server", setup)
