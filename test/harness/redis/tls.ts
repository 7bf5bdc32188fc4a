/** Certificates for a Redis with TLS, made by the openssl command, and the server arguments that use them. */
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { freePort } from "../network/free-port.ts"
import { type RedisOptions, type RedisServer, startRedis } from "./redis.ts"

/** Files of one certificate authority: its own certificate, one for a server at 127.0.0.1, and one for a client. */
export interface TlsFiles {
  readonly ca: string
  readonly serverCert: string
  readonly serverKey: string
  readonly clientCert: string
  readonly clientKey: string
  /** The environment in which a process trusts the authority and shows the client's certificate. */
  readonly env: Readonly<Record<string, string>>
  /** Removes the files. */
  close(): void
}

/** Makes a new authority. */
export function createTlsFiles(): TlsFiles {
  const directory = mkdtempSync(join(tmpdir(), "unseal-tls-"))
  const path = (name: string) => join(directory, name)
  const openssl = (...args: string[]) => execFileSync("openssl", args, { stdio: "pipe" })
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
  openssl(
    ...["req", "-x509", ...ec, "-days", "2", "-subj", "/CN=redis test authority"],
    ...["-keyout", path("ca.key"), "-out", path("ca.crt")],
  )
  writeFileSync(path("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n")
  for (const name of ["server", "client"]) {
    openssl(
      ...["req", ...ec, "-subj", `/CN=${name}`],
      ...["-keyout", path(`${name}.key`), "-out", path(`${name}.csr`)],
    )
    openssl(
      ...["x509", "-req", "-in", path(`${name}.csr`), "-CA", path("ca.crt"), "-CAkey", path("ca.key")],
      ...["-CAcreateserial", "-days", "2", "-extfile", path("names"), "-out", path(`${name}.crt`)],
    )
  }
  const files = {
    ca: path("ca.crt"),
    serverCert: path("server.crt"),
    serverKey: path("server.key"),
    clientCert: path("client.crt"),
    clientKey: path("client.key"),
  }
  return {
    ...files,
    env: {
      REDIS_TLS_CA_FILE: files.ca,
      REDIS_TLS_CERT_FILE: files.clientCert,
      REDIS_TLS_KEY_FILE: files.clientKey,
    },
    close: () => rmSync(directory, { recursive: true, force: true }),
  }
}

/** The arguments of a server, or a sentinel, that also speaks TLS, at `port`, and requires a client certificate. */
export const tlsSettings = (files: TlsFiles, port: number): string[] => [
  ...["--tls-port", String(port), "--tls-ca-cert-file", files.ca],
  ...["--tls-cert-file", files.serverCert, "--tls-key-file", files.serverKey],
]

/** Starts a Redis whose `url` is `rediss://`. Its plain port is `port`. */
export async function startTlsRedis(
  files: TlsFiles,
  options: RedisOptions = {},
): Promise<RedisServer & { readonly tlsPort: number }> {
  const tlsPort = await freePort()
  const server = await startRedis({
    ...options,
    settings: [...tlsSettings(files, tlsPort), ...(options.settings ?? [])],
  })
  return Object.create(server, {
    url: { value: `rediss://127.0.0.1:${tlsPort}`, enumerable: true },
    tlsPort: { value: tlsPort, enumerable: true },
  })
}
