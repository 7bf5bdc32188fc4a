import { mkdtemp, readFile, rm } from "node:fs/promises"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { createServer as createTlsServer } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { openStore } from "@unseal/archive/store/open"
import { closeNow, listen } from "@unseal/service/admin"
import type { VendorStorage } from "../cloud.ts"
import type { CertificateFiles } from "../recording/openssl.ts"
import { createDownloads } from "./downloads.ts"

export interface VendorStorageOptions {
  readonly host: string
  /** 0 picks any free port. */
  readonly port: number
  /** The host in the URLs, by which a worker reaches this machine. */
  readonly publicHost: string
  /** How long a URL is valid. */
  readonly lifetimeMs: number
  /** Serves HTTPS with this certificate and key (PEM files); without it, HTTP. */
  readonly tls?: CertificateFiles
  /** The clock for the expiry of URLs, in milliseconds. Default `Date.now`. */
  readonly now?: () => number
}

/** Starts the vendor's own storage: a private temporary directory, and a server for its files. */
export async function startVendorStorage(
  options: VendorStorageOptions,
): Promise<VendorStorage & { readonly port: number; close(): Promise<void> }> {
  const tls = options.tls && {
    cert: await readFile(options.tls.certificateFile),
    key: await readFile(options.tls.keyFile),
  }
  const directory = await mkdtemp(join(tmpdir(), "unseal-vendor-storage-"))
  const store = await openStore(pathToFileURL(directory).href, { env: {} })
  const serve = (request: IncomingMessage, response: ServerResponse) => {
    downloads.answer(request, response).catch(() => response.destroy())
  }
  const server = tls ? createTlsServer(tls, serve) : createServer(serve)
  const portOf = () => (server.address() as AddressInfo).port
  const downloads = createDownloads({
    store,
    lifetimeMs: options.lifetimeMs,
    now: options.now,
    baseUrl: () => `${tls ? "https" : "http"}://${options.publicHost}:${portOf()}`,
  })
  await listen(server, options.port, options.host)
  return {
    store,
    urlOf: downloads.urlOf,
    port: portOf(),
    async close() {
      await closeNow(server)
      await store.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}
