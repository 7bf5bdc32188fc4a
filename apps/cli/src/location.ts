/** The SOURCE and DESTINATION of a command: a path, `-`, or a store URL that ends in the key. */
import { basename, dirname, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import type { OpenedStore } from "@unseal/archive/store/adapter"
import { openStore } from "@unseal/archive/store/open"
import { splitObjectUrl } from "@unseal/archive/store/url"
import { env } from "./config.ts"
import { UsageError } from "./exit.ts"
import { spoolStandardInput } from "./standard-input.ts"
import { createStandardOutput } from "./standard-output.ts"

export interface Location {
  readonly store: OpenedStore
  readonly key: string
  /** As the user gave it. */
  readonly name: string
  /** Plain files and standard output carry no marks of where their bytes came from. */
  readonly marks: boolean
}

/** Opens SOURCE. Standard input is kept in a private temporary file meanwhile: it is ciphertext, and must be read in ranges. */
export async function openSource(name: string, signal: AbortSignal): Promise<Location> {
  if (name === "-") return { ...(await spoolStandardInput(signal)), name: "standard input", marks: false }
  return openLocation(name)
}

/** Opens DESTINATION. */
export async function openDestination(name: string): Promise<Location> {
  if (name === "-") return { store: createStandardOutput(), key: "-", name: "standard output", marks: false }
  return openLocation(name)
}

async function openLocation(name: string): Promise<Location> {
  const isUrl = /^[a-z][a-z0-9+.-]*:\/\//i.test(name)
  const { store, key } = isUrl ? splitObjectUrl(name) : splitPath(name)
  return { store: await openStore(store, { env }), key, name, marks: !store.startsWith("file:") }
}

function splitPath(path: string): { store: string; key: string } {
  if (path === "" || path.endsWith("/")) throw new UsageError(`"${path}" names no file`)
  const absolute = resolve(path)
  return { store: pathToFileURL(dirname(absolute)).href, key: basename(absolute) }
}
