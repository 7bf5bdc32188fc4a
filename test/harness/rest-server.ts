/** The simulated vendor's REST API, with a store and an S3 server behind it. */

import { randomUUID } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { SignJWT } from "jose"
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest"
import { createRecordingCloud, type RecordingCloud } from "../../apps/simulator/src/cloud.ts"
import { createCertificate } from "../../apps/simulator/src/recording/openssl.ts"
import {
  type RestServer,
  type RestServerOptions,
  startRestServer,
} from "../../apps/simulator/src/rest/server.ts"
import { poisoned } from "./poisoned.ts"

export const PROJECT = "123456"

export const SECRET = "an-api-secret"

export const never = new AbortController().signal
export const directory = mkdtempSync(join(tmpdir(), "rest-"))
export const path = (name: string) => join(directory, name)
export const first = { certificateFile: path("cert.pem"), keyFile: path("key.pem") }
beforeAll(() => createCertificate(first))
afterAll(() => rmSync(directory, { recursive: true }))

export let store: OpenedStore
export let cloud: RecordingCloud
export let rest: RestServer
beforeEach(async () => {
  store = poisoned(await openStore(`file://${mkdtempSync(path("bucket-"))}`, { env: {} }))
  cloud = createRecordingCloud({
    certificate: readFileSync(first.certificateFile, "utf8"),
    store,
    projectId: PROJECT,
  })
  await serve()
})
afterEach(async () => {
  await rest.close()
  await store.close()
})

export async function serve(options: Partial<RestServerOptions> = {}): Promise<void> {
  await rest?.close()
  const credentials = { scheme: "opentok", apiSecret: SECRET } as const
  rest = await startRestServer({ projectId: PROJECT, credentials, cloud, ...options })
}

export const now = () => Math.floor(Date.now() / 1_000)
export const CLAIMS = () => ({
  iss: PROJECT,
  ist: "project",
  iat: now(),
  exp: now() + 180,
  jti: randomUUID(),
})
export const sign = (claims: object, secret = SECRET, alg = "HS256") =>
  new SignJWT({ ...claims }).setProtectedHeader({ alg }).sign(new TextEncoder().encode(secret))
export const authorized = async () => ({ "x-opentok-auth": await sign(CLAIMS()) })

export const ask = (rest_: string, headers: Record<string, string>, init: RequestInit = {}) =>
  fetch(`${rest.url}/v2/project/${rest_}`, { ...init, headers })
export const get = async (rest_: string) => ask(`${PROJECT}/${rest_}`, await authorized())
