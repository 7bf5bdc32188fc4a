/** Stores behind a proxy that asks for a password. */

import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { type AddressInfo, connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createServer as createTlsServer, type Server } from "node:tls"
import { promisify } from "node:util"
import { afterAll, afterEach, beforeAll } from "vitest"
import { type S3Server, startS3Server } from "../../../apps/simulator/src/s3/http/server.ts"
import {
  type ConnectProxy,
  type ConnectProxyOptions,
  startConnectProxy,
} from "../../harness/network/connect-proxy.ts"

export const PART = 6972 * 752
export const never = new AbortController().signal
export const credentials = { accessKeyId: "UNSEALTESTACCESSKEY", secretAccessKey: "canary-secret-access-key" }

export let directory: string
export let bundle: string
export let s3: S3Server
let tls: Server
export let proxy: ConnectProxy | undefined
export const closing: (() => unknown)[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-proxy-"))
  const key = join(directory, "key.pem")
  bundle = join(directory, "cert.pem")
  await promisify(execFile)("openssl", [
    ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"],
    ...[
      "-addext",
      "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:s3.example.test,DNS:copies.example.invalid",
    ],
    ...["-keyout", key, "-out", bundle],
  ])
  s3 = await startS3Server({ credentials: [credentials], buckets: ["archives"] })
  tls = createTlsServer({ key: await readFile(key), cert: await readFile(bundle) }, (socket) => {
    const inner = connect(s3.port, "127.0.0.1")
    socket.pipe(inner).pipe(socket)
    for (const one of [socket, inner]) one.on("error", () => one.destroy())
    socket.on("close", () => inner.destroy())
    closing.push(() => socket.destroy())
  })
  await new Promise<void>((resolve) => tls.listen(0, "127.0.0.1", resolve))
})
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
  await proxy?.close()
  proxy = undefined
})
afterAll(async () => {
  tls.close()
  await s3.close()
  await rm(directory, { recursive: true })
})

export const certified = async () => ({
  key: await readFile(join(directory, "key.pem")),
  cert: await readFile(bundle),
})
export const tlsPort = () => (tls.address() as AddressInfo).port

export async function through(options: ConnectProxyOptions = {}): Promise<ConnectProxy> {
  proxy = await startConnectProxy(options)
  return proxy
}

/** Statuses that a proxy answers, and what is reported for each. */
export const refusals = [
  [407, "ERR_STORE_DENIED", /wants a user and password \(407\): put them into HTTPS?_PROXY/],
  [
    403,
    "ERR_STORE_DENIED",
    /refuses to connect to 127\.0\.0\.1:\d+ \(403\): its operator must allow the host/,
  ],
  [
    502,
    "ERR_STORE_UNAVAILABLE",
    /could not connect to 127\.0\.0\.1:\d+ \(502\): check the proxy's own network/,
  ],
] as const
