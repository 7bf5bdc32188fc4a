/** What there is to see while a demo keeps running: addresses, credentials, and a recording to play. */
import { createHash, createHmac } from "node:crypto"
import { fileURLToPath } from "node:url"
import { DESTINATION_NAME, S3_CREDENTIAL } from "@unseal/test/harness/stores"
import { credentialOf } from "@unseal/test/harness/stores/policies"
import type { System } from "@unseal/test/harness/system"

type S3Credential = typeof S3_CREDENTIAL
const LIFETIME_S = 7 * 24 * 3600

/** Names of the running processes, and where to find each. `key` is a decrypted recording's. */
export function whereToLook(system: System, key: string | undefined, policies: boolean): [string, string][] {
  const { ingest, simulator, stores, env, redis } = system
  const running = system.workers.filter((worker) => worker.running())
  const credential = policies ? credentialOf("destination") : S3_CREDENTIAL
  return [
    ["ingest", `http://127.0.0.1:${ingest.ports.http}/openapi.json`],
    ["", `http://127.0.0.1:${ingest.ports.admin}/metrics`],
    ...running.map(({ name, ports }): [string, string] => [name, `http://127.0.0.1:${ports.admin}/metrics`]),
    ["simulator", `http://127.0.0.1:${simulator.ports.control}/archives`],
    ["queue", `${assigned(redis.env)} npx --no-install unseal queue status`],
    ...destinationOf(stores.destination, env, credential),
    ...(key === undefined ? [] : recordingAt(stores.destination, key, credential)),
  ]
}

/** Variable assignments for a command, with all that Redis needs, certificates included. */
const assigned = (env: Readonly<Record<string, string>>): string =>
  Object.entries(env)
    .map(([name, value]) => `${name}='${value}'`)
    .join(" ")

function destinationOf(
  url: string,
  env: Readonly<Record<string, string>>,
  credential: S3Credential,
): [string, string][] {
  if (url.startsWith("file:")) return [["destination", fileURLToPath(url)]]
  if (url.startsWith("azure:"))
    return [
      ["destination", `container ${DESTINATION_NAME}`],
      ["", `AZURE_STORAGE_CONNECTION_STRING='${env.AZURE_STORAGE_CONNECTION_STRING}'`],
    ]
  return [
    ["destination", `bucket ${DESTINATION_NAME} at ${new URL(url).searchParams.get("endpoint")}`],
    [
      "",
      Object.entries(credential)
        .map(([name, value]) => `${name}=${value}`)
        .join(" "),
    ],
  ]
}

/** A command that plays the recording; any player that knows MPEG-TS will do. */
function recordingAt(url: string, key: string, credential: S3Credential): [string, string][] {
  if (url.startsWith("file:")) return [["play", `ffplay '${fileURLToPath(url)}/${key}'   (or mpv, vlc)`]]
  if (url.startsWith("azure:")) return []
  const { searchParams } = new URL(url)
  const signed = presigned(searchParams.get("endpoint")!, `/${DESTINATION_NAME}/${key}`, credential)
  return [["play", `curl -so recording.ts '${signed}' && ffplay recording.ts   (or mpv, vlc)`]]
}

/** A URL that reads one object for a week without a credential (Signature Version 4 in the query string). */
export function presigned(
  endpoint: string,
  path: string,
  credential: S3Credential,
  now = new Date(),
): string {
  const stamp = now.toISOString().replaceAll(/[-:]|\.\d+/g, "")
  const scope = [stamp.slice(0, 8), "us-east-1", "s3", "aws4_request"]
  const query = Object.entries({
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": [credential.AWS_ACCESS_KEY_ID, ...scope].join("/"),
    "X-Amz-Date": stamp,
    "X-Amz-Expires": String(LIFETIME_S),
    "X-Amz-SignedHeaders": "host",
  })
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join("&")
  const request = ["GET", path, query, `host:${new URL(endpoint).host}`, "", "host", "UNSIGNED-PAYLOAD"]
  const sha256 = createHash("sha256").update(request.join("\n")).digest("hex")
  const toSign = ["AWS4-HMAC-SHA256", stamp, scope.join("/"), sha256].join("\n")
  const hmac = (key: string | Buffer, text: string) => createHmac("sha256", key).update(text).digest()
  const key = scope.reduce<string | Buffer>(hmac, `AWS4${credential.AWS_SECRET_ACCESS_KEY}`)
  return `${endpoint}${path}?${query}&X-Amz-Signature=${hmac(key, toSign).toString("hex")}`
}
