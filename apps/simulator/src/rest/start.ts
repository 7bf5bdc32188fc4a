/** Starts the vendor's side of the REST API from the simulator's settings. */
import { existsSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { isIP } from "node:net"
import type { SimulatorConfig } from "../config.ts"
import { type CertificateFiles, createCertificate } from "../recording/openssl.ts"
import type { RestCredentials } from "./authorization.ts"
import { type RestServer, type RestServerOptions, startRestServer } from "./server.ts"
import { startVendorStorage } from "./vendor-storage.ts"

/** The vendor's storage, if there is a REST API; `null` if not. */
export async function startStorage(config: SimulatorConfig) {
  if (config.SIMULATOR_REST_PORT === undefined) return null
  const tls = await tlsOf(config)
  return startVendorStorage({
    host: config.SIMULATOR_HOST,
    port: config.SIMULATOR_DOWNLOAD_PORT,
    publicHost: config.SIMULATOR_DOWNLOAD_HOST,
    lifetimeMs: config.SIMULATOR_URL_LIFETIME_MS,
    ...(tls && { tls }),
  })
}

async function tlsOf(config: SimulatorConfig): Promise<CertificateFiles | null> {
  const { SIMULATOR_TLS_CERTIFICATE_FILE: certificateFile, SIMULATOR_TLS_KEY_FILE: keyFile } = config
  if (certificateFile === undefined || keyFile === undefined) return null
  const host = config.SIMULATOR_DOWNLOAD_HOST
  if (!existsSync(certificateFile))
    await createCertificate(
      { certificateFile, keyFile },
      { subjectAltName: `${isIP(host) === 0 ? "DNS" : "IP"}:${host}` },
    )
  return { certificateFile, keyFile }
}

export async function startRest(
  config: SimulatorConfig,
  options: Pick<RestServerOptions, "cloud" | "form" | "urlOf" | "nextRecording">,
  refuses: (number: number) => boolean,
): Promise<RestServer> {
  return startRestServer({
    ...options,
    host: config.SIMULATOR_HOST,
    port: config.SIMULATOR_REST_PORT ?? 0,
    projectId: config.SIMULATOR_PROJECT_ID,
    credentials: await credentialsOf(config),
    refuse: ({ number }) => (refuses(number) ? { status: 429, retryAfter: "1" } : null),
  })
}

async function credentialsOf(config: SimulatorConfig): Promise<RestCredentials> {
  const scheme = config.SIMULATOR_REST_AUTH
  return scheme === "vonage"
    ? { scheme, publicKey: await readFile(config.SIMULATOR_PUBLIC_KEY_FILE!, "utf8") }
    : { scheme, apiSecret: config.SIMULATOR_API_SECRET! }
}
