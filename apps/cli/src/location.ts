/** The SOURCE and DESTINATION of a command: a path, `-`, a store URL that ends in the key, or (SOURCE only) an https URL. */
import { basename, dirname, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import type { OpenedStore } from "@unseal/archive/store/adapter"
import { openHttpsStore } from "@unseal/archive/store/https"
import { openStore } from "@unseal/archive/store/open"
import { parseStoreUrl, splitObjectUrl } from "@unseal/archive/store/url"
import type { StoreSide } from "@unseal/archive/store/url-parameters"
import { env } from "./config.ts"
import { UsageError } from "./exit.ts"
import { spoolStandardInput } from "./standard-input.ts"
import { createStandardOutput } from "./standard-output.ts"

export interface Location {
  readonly store: OpenedStore
  readonly key: string
  /** As the user gave it, without the query of an https URL, which may be a signature. */
  readonly name: string
  /** Plain files and standard output carry no marks of where their bytes came from. */
  readonly marks: boolean
}

/** Opens SOURCE. Standard input is kept in a private temporary file meanwhile: it is ciphertext, and must be read in ranges. */
export async function openSource(name: string, signal: AbortSignal): Promise<Location> {
  if (name === "-") return { ...(await spoolStandardInput(signal)), name: "standard input", marks: false }
  if (/^https:/i.test(name)) return openHttpsSource(name)
  return openLocation(name, "source")
}

/** Whoever names the URL decides where it leads, so that any host may be asked; plain http stays refused. */
function openHttpsSource(name: string): Location {
  const url = URL.parse(name)
  if (url === null || url.username !== "" || url.password !== "")
    throw new UsageError("the https URL is malformed, or holds credentials before an @: leave them out")
  const key = `${url.origin}${url.pathname}`
  return { store: openHttpsStore({ key, url: name, env }), key, name: key, marks: false }
}

/** Opens DESTINATION. */
export async function openDestination(name: string): Promise<Location> {
  if (name === "-") return { store: createStandardOutput(), key: "-", name: "standard output", marks: false }
  if (/^https:/i.test(name))
    throw new UsageError("an https URL can be a source, but nothing can be written to it")
  return openLocation(name, "destination")
}

async function openLocation(name: string, side: StoreSide): Promise<Location> {
  const isUrl = /^[a-z][a-z0-9+.-]*:\/\//i.test(name)
  const { store, key } = isUrl ? splitObjectUrl(name) : splitPath(name)
  parseStoreUrl(store, side)
  return { store: await openStore(store, { env }), key, name, marks: !store.startsWith("file:") }
}

function splitPath(path: string): { store: string; key: string } {
  if (path === "" || path.endsWith("/")) throw new UsageError(`"${path}" names no file`)
  const absolute = resolve(path)
  return { store: pathToFileURL(dirname(absolute)).href, key: basename(absolute) }
}
