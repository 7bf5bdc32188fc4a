/** One S3 server for a file, and a store that it serves. */
import type { OpenedStore } from "@unseal/archive/store/contract"
import { RequestLimit } from "@unseal/archive/store/requests/limit"
import { withRequestLimit } from "@unseal/archive/store/requests/limited"
import { type RetryOptions, withRetries } from "@unseal/archive/store/requests/retry"
import { afterAll, afterEach, beforeAll, expect } from "vitest"
import type { S3Server } from "../../../apps/simulator/src/s3/http/server.ts"
import { open, startServer } from "./s3-store.ts"

export let server: S3Server
export let store: OpenedStore

beforeAll(async () => {
  server = await startServer()
  store = await open(server.url)
})
afterEach(() => {
  server.faults.clear()
  server.operations.clear()
  expect(server.openUploads()).toEqual([])
})
afterAll(async () => {
  await store?.close()
  await server?.close()
})

/** The adapter with the layers of `openStore`, but without their pauses. */
export const asOpened = (options: RetryOptions = {}) =>
  withRetries(withRequestLimit(store, new RequestLimit({ baseMs: 1, maxMs: 5 }), options), {
    baseMs: 1,
    ...options,
  })
