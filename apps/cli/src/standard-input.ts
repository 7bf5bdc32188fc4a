import { createWriteStream } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import { pathToFileURL } from "node:url"
import type { OpenedStore } from "@unseal/archive/store/adapter"
import { openStore } from "@unseal/archive/store/open"
import { env } from "./config.ts"

const KEY = "standard-input"

/**
 * Copies standard input to a file of a private temporary directory, which goes with `close`. Its size must be known, and the
 * first packets checked, before the first byte of plaintext leaves; a stream allows neither.
 */
export async function spoolStandardInput(signal: AbortSignal): Promise<{ store: OpenedStore; key: string }> {
  const directory = await mkdtemp(join(tmpdir(), "unseal-"))
  const remove = () => rm(directory, { recursive: true, force: true })
  try {
    await pipeline(process.stdin, createWriteStream(join(directory, KEY), { mode: 0o600 }), { signal })
    const store = await openStore(pathToFileURL(directory).href, { env })
    return { key: KEY, store: { ...store, close: () => store.close().finally(remove) } }
  } catch (error) {
    await remove()
    throw signal.aborted ? signal.reason : error
  }
}
