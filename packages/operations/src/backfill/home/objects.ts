/** The objects of backfills at their home, and how they are written and read. */
import { promisify } from "node:util"
import { gunzip, gzip } from "node:zlib"
import { isUnsealError } from "@unseal/archive/errors"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { copied, writeSmallObject } from "@unseal/archive/store/small-object"
import { BackfillError } from "../backfill-error.ts"

/** The parts of a destination that backfills use. */
export type HomeStore = Pick<OpenedStore, "location" | "stat" | "open" | "create" | "partSizeFor">

const ROOT = "unseal-backfills"
const numbered = (number: number) => String(number).padStart(6, "0")

/** The keys of these objects, below the destination's prefix. */
export const KEYS = {
  /** The list of the home's backfills, in the order in which they began. */
  index: (number: number) => `${ROOT}/index-${numbered(number)}.json`,
  /** A segment's lines. Two backfills with the same lines share them. */
  segment: (sha256: string) => `${ROOT}/lines/${sha256}.ndjson.gz`,
  manifest: (id: string) => `${ROOT}/${id}/manifest.json`,
  state: (id: string) => `${ROOT}/${id}/state.json`,
  order: (id: string, number: number) => `${ROOT}/${id}/order-${numbered(number)}.json`,
  outcomes: (id: string, number: number) => `${ROOT}/${id}/outcomes-${numbered(number)}.csv.gz`,
} as const

/** More bytes than any of these objects has. */
const LIMIT = 64 * 1024 * 1024

/** The bytes under `key`, in one request; `null` if there is no object. */
export async function readWhole(
  store: HomeStore,
  key: string,
  signal: AbortSignal,
): Promise<Uint8Array | null> {
  const opened = await store.open(key, LIMIT, signal)
  if (opened === null) return null
  if (opened.object.size > LIMIT) {
    opened.close()
    throw new BackfillError(
      "ERR_BACKFILL_CHANGED",
      `${store.location}/${key} has ${opened.object.size} bytes, but Unseal never writes more than ${LIMIT}`,
    )
  }
  return Buffer.concat(await Array.fromAsync(copied(opened.head)))
}

/** Writes `bytes` under `key`, in place of what is there. */
export const replaceWhole = async (
  store: HomeStore,
  key: string,
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<void> => void (await writeSmallObject(store, key, bytes, contentTypeOf(key), signal))

/** Writes `bytes` under `key`. If there is an object already, writes nothing and resolves to `false`. */
export async function writeNew(
  store: HomeStore,
  key: string,
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    // An object with other metadata is never mistaken for this one, even if it has the same size.
    const metadata = { "unseal-nonce": crypto.randomUUID() }
    await writeSmallObject(store, key, bytes, contentTypeOf(key), signal, { existing: "fail", metadata })
    return true
  } catch (error) {
    if (isUnsealError(error, "ERR_DESTINATION_EXISTS")) return false
    throw error
  }
}

const contentTypeOf = (key: string): string => (key.endsWith(".gz") ? "application/gzip" : "application/json")

/** Text as it is kept: compressed. */
export const pack = (text: string): Promise<Uint8Array> => promisify(gzip)(text)

/** What `pack` made. Throws `ERR_BACKFILL_CHANGED` for anything else; `name` is for its message. */
export async function unpack(bytes: Uint8Array, name: string): Promise<string> {
  try {
    return (await promisify(gunzip)(bytes, { maxOutputLength: 4 * LIMIT })).toString("utf8")
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new BackfillError(
      "ERR_BACKFILL_CHANGED",
      `${name} can't be unpacked (${code}): it was replaced, or cut short`,
    )
  }
}
