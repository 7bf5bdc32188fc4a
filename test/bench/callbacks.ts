/** Archive-status callbacks as the vendor sends them, prepared beforehand and sent by native/load.c. */
import { execFile } from "node:child_process"
import { createHash, createHmac, randomUUID } from "node:crypto"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import type { Bench } from "./bench-context.ts"
import { PROJECT_ID } from "./unseal-contenders.ts"

export const CONNECTIONS = 64
export const CALLBACK_BYTES = 600

/** The signature secret of the project that the callbacks are for. */
export const SECRET = "the signature secret of the bench's callbacks"

/** Requests in a file, each preceded by its length. */
export interface Callbacks {
  readonly file: string
  readonly count: number
}

/** The output of native/load.c. */
export interface LoadResult {
  readonly seconds: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  /** Responses by status. */
  readonly statuses: Readonly<Record<string, number>>
}

let files = 0

/** `count` signed callbacks, each for a new archive. */
export function prepareCallbacks({ directory, recording }: Bench, count: number): Callbacks {
  const requests: Buffer[] = []
  // Encrypting passwords costs more than everything else here, and ingest decrypts none. So a few are reused.
  const passwords = Array.from({ length: 64 }, () => recording.encryptedPassword())
  for (let index = 0; index < count; index++) {
    const body = callbackBody(passwords[index % passwords.length]!)
    const request = Buffer.from(
      `POST /callbacks/${PROJECT_ID} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nAuthorization: Bearer ${sign(body)}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    )
    const length = Buffer.alloc(4)
    length.writeUInt32LE(request.length)
    requests.push(length, request)
  }
  const file = join(directory, `callbacks-${++files}`)
  writeFileSync(file, Buffer.concat(requests))
  return { file, count }
}

function callbackBody(password: string): string {
  const fields = {
    id: randomUUID(),
    event: "archive",
    createdAt: 1_384_221_380_000,
    duration: 0,
    name: "",
    partnerId: Number(PROJECT_ID),
    reason: "",
    sessionId: "2_MX40NzIwMzJ-",
    size: 1_048_576,
    status: "uploaded",
    password,
  }
  const missing = CALLBACK_BYTES - JSON.stringify(fields).length
  return JSON.stringify({ ...fields, name: "n".repeat(Math.max(0, missing)) })
}

const base64url = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url")
const header = base64url({ alg: "HS256", typ: "JWT" })

/** A JWT (RFC 7519) with the hash of the body, as the vendor makes it. */
function sign(body: string): string {
  const payload_hash = createHash("sha256").update(body).digest("hex")
  const iat = Math.floor(Date.now() / 1_000)
  const signed = `${header}.${base64url({ iss: "Vonage", jti: randomUUID(), iat, payload_hash })}`
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`
}

/** Sends all of `callbacks`. `Error` unless each is answered 202. */
export async function sendCallbacks(
  { native }: Bench,
  ingest: { readonly port: number },
  { file, count }: Callbacks,
): Promise<LoadResult> {
  const { stdout } = await promisify(execFile)(native.load, [String(ingest.port), String(CONNECTIONS), file])
  const result = JSON.parse(stdout) as LoadResult
  if (result.statuses["202"] !== count)
    throw new Error(`of ${count} callbacks, answers by status: ${JSON.stringify(result.statuses)}`)
  return result
}
