/** SOURCE and DESTINATION of a command: a path, `-`, a store URL that ends in the key, or (SOURCE only) an https URL. */
import { createWriteStream, type Stats } from "node:fs"
import { readlink, stat } from "node:fs/promises"
import { basename, dirname, join, resolve } from "node:path"
import type { Readable } from "node:stream"
import { fileURLToPath, pathToFileURL } from "node:url"
import { openPipeToWrite, readPipe } from "@unseal/archive/pipe"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openHttpsStore } from "@unseal/archive/store/https/source"
import { openStore } from "@unseal/archive/store/open"
import { parseStoreUrl, splitObjectUrl } from "@unseal/archive/store/url"
import type { StoreSide } from "@unseal/archive/store/url-parameters"
import { env } from "../config.ts"
import { UsageError } from "../terminal/exit.ts"
import { spool } from "../terminal/standard-input.ts"
import { createStandardOutput, refuseLostOutput } from "../terminal/standard-output.ts"
import { sayNotices } from "../terminal/store-notices.ts"
import { withOwner } from "./leftovers.ts"

export interface Location {
  readonly store: OpenedStore
  readonly key: string
  /** As the user gave it, but without the query of an https URL, which may be a signature. */
  readonly name: string
  /** The store's URL without the key. Absent if there is no store. */
  readonly url?: string
  /** The path of a file of this machine. */
  readonly path?: string
  /** Whether the store keeps marks about the origin of an object. Plain files and standard output don't. */
  readonly marks: boolean
}

/**
 * Opens SOURCE. A pipe (standard input, a shell's `<(…)`) is first copied to a temporary file, because it must be read in ranges;
 * it is only ciphertext. Calls `onBytes` with the progress.
 */
export async function openSource(
  name: string,
  signal: AbortSignal,
  onBytes?: (done: number) => void,
): Promise<Location> {
  const spooled = async (label: string, input: Readable) => ({
    ...(await spool({ name: label, input, ...(onBytes && { onBytes }) }, signal)),
    ...{ name: label, marks: false },
  })
  if (name === "-") return spooled("standard input", process.stdin)
  if (/^https:/i.test(name)) return openHttpsSource(name)
  if (!isUrl(name) && (await statOf(name))?.isFIFO()) return spooled(name, readPipe(name, signal))
  const location = await openLocation(name, "source")
  if (location.path !== undefined) await requireFile(name, location.path)
  return location
}

/** The user who names the URL decides where it leads, so any host is allowed. Plain http is still refused. */
function openHttpsSource(name: string): Location {
  const url = URL.parse(name)
  if (url === null || url.username !== "" || url.password !== "")
    throw new UsageError("the https URL is malformed, or holds credentials before an @: leave them out")
  const key = `${url.origin}${url.pathname}`
  return { store: openHttpsStore({ key, url: name, env }), key, name: key, marks: false }
}

/** Opens DESTINATION. A device or a pipe is written like standard output. */
export async function openDestination(name: string, signal: AbortSignal): Promise<Location> {
  if (name === "-") {
    refuseLostOutput()
    return { store: createStandardOutput(), key: "-", name: "standard output", marks: false }
  }
  if (/^https:/i.test(name))
    throw new UsageError("an https URL can be a source, but nothing can be written to it")
  if (!isUrl(name)) {
    const stats = await statOf(name)
    if (stats?.isFIFO() || stats?.isCharacterDevice()) {
      const output = stats.isFIFO() ? await openPipeToWrite(name, signal) : createWriteStream(name)
      return { store: createStandardOutput(output, name), key: "-", name, marks: false }
    }
    if (stats?.isDirectory()) throw new UsageError(`${name} is a directory: name the file in it`)
    const link = stats === null ? await readlink(name).catch(() => null) : null
    if (link !== null)
      throw new UsageError(
        `${name} is a symbolic link to ${link}, which does not exist: name the file itself, or remove the link`,
      )
  }
  const location = await openLocation(name, "destination")
  const folder = location.path === undefined ? undefined : dirname(location.path)
  if (folder !== undefined && !(await statOf(folder)))
    throw new UsageError(`the folder ${folder} does not exist: make it (mkdir -p), or name another`)
  return location.path === undefined
    ? location
    : { ...location, store: withOwner(location.store, location.path) }
}

/** Nobody uploads to this machine's own disk, so a missing file is a misspelt path. */
async function requireFile(name: string, path: string): Promise<void> {
  const stats = await statOf(path)
  if (stats?.isDirectory()) throw new UsageError(`${name} is a directory: name the archive in it`)
  if (stats !== null) return
  const link = await readlink(path).catch(() => null)
  if (link !== null)
    throw new UsageError(`${name} is a symbolic link to ${link}, which does not exist: name the file itself`)
  const folder = dirname(path)
  throw new UsageError(
    (await statOf(folder))?.isDirectory()
      ? `${name} does not exist: check the name`
      : `${name} does not exist, nor does its folder ${folder}: check the path`,
  )
}

const isUrl = (name: string): boolean => /^[a-z][a-z0-9+.-]*:\/\//i.test(name)
const statOf = (path: string): Promise<Stats | null> => stat(path).catch(() => null)

async function openLocation(name: string, side: StoreSide): Promise<Location> {
  const { store: url, key } = isUrl(name) ? splitObjectUrl(name) : splitPath(name)
  parseStoreUrl(url, side)
  const isFile = url.startsWith("file:")
  return {
    ...{ store: await openStore(url, { env, onNotice: sayNotices(url) }), url, key, name, marks: !isFile },
    ...(isFile && { path: join(fileURLToPath(url), key) }),
  }
}

function splitPath(path: string): { store: string; key: string } {
  if (path === "" || path.endsWith("/")) throw new UsageError(`"${path}" names no file`)
  const absolute = resolve(path)
  return { store: pathToFileURL(dirname(absolute)).href, key: basename(absolute) }
}
