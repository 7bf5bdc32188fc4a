/** Key rings by URL: a scheme is a row of a table. */
import { resolve } from "node:path"
import { fileURLToPath } from "node:url"
import type { OaepHash } from "../format/password.ts"
import type { OpenedKeyRing } from "./contract.ts"
import { openKeyDirectory } from "./directory.ts"
import { createKeyRetries, type KeyRetryOptions, withKeyRetries } from "./retry.ts"

export interface KeyRingOptions {
  readonly oaepHash?: OaepHash
}

export interface KeyRingScheme {
  /** A URL of this scheme, for messages. */
  readonly example: string
  /** Whether the keys are requested over a network. Requests then have less time, and are repeated if they fail. */
  readonly isRemote: boolean
  /** Checks `url` without asking anybody. Returns a function that opens its ring, or what is wrong as a clause without secrets. */
  parse(url: string): ((options: KeyRingOptions, signal: AbortSignal) => Promise<OpenedKeyRing>) | string
}

/** By scheme, without the colon. */
export type KeyRingSchemes = Readonly<Record<string, KeyRingScheme>>

const directoryAt = (path: string) => (options: KeyRingOptions) => openKeyDirectory(path, options)

const DIRECTORY: KeyRingScheme = {
  example: "file:///directory",
  isRemote: false,
  parse(url) {
    const parsed = /^file:\/\/\/[^?#]+$/i.test(url) ? URL.parse(url) : null
    try {
      if (parsed) return directoryAt(resolve(fileURLToPath(parsed)))
    } catch {
      // A broken or forbidden escape. Node's message would repeat it.
    }
    return "must be file:///directory, with three slashes and nothing after the path"
  },
}

const SCHEMES: KeyRingSchemes = { file: DIRECTORY }

export interface OpenKeyRingOptions extends KeyRingOptions {
  /** Replaces the built-in schemes. */
  readonly schemes?: KeyRingSchemes | undefined
  /** Overrides the scheme's usual limits and retries of requests. */
  readonly requests?: KeyRetryOptions | undefined
}

/**
 * A directory may be on another machine with a slow file system. It is read once, because a second look would wait behind the
 * first.
 */
const LOCAL: KeyRetryOptions = { attempts: 1, timeoutMs: 20_000 }

/**
 * Opens the key ring at `location`: a directory's path, or a URL. Throws `RangeError` if `keyRingProblem` finds a fault, and
 * `ERR_KEY_SERVICE_UNAVAILABLE` if its keys can't be reached. Each call of a ring ends in time: see `withKeyRetries`.
 */
export async function openKeyRing(
  location: string,
  options: OpenKeyRingOptions = {},
): Promise<OpenedKeyRing> {
  const { schemes = SCHEMES, requests, ...ringOptions } = options
  const found = find(location, schemes)
  if (typeof found === "string") throw new RangeError(`key ring ${found}`)
  const { scheme, open } = found
  const limits = scheme.isRemote ? requests : { ...LOCAL, ...requests }
  const opening = async (signal: AbortSignal) => {
    const ring = await open(ringOptions, signal)
    // Nobody waits for it any more.
    if (signal.aborted) await ring.close()
    return ring
  }
  // A directory that hangs keeps a thread until it answers. Its first look is waited for, and no other starts beside it.
  const ring = scheme.isRemote
    ? await createKeyRetries(limits)(`key ring of ${scheme.example}`, opening)
    : await opening(new AbortController().signal)
  return withKeyRetries(ring, limits)
}

/** What is wrong with `location` for a key ring, as a clause without secrets, or `null`. */
export function keyRingProblem(location: string, schemes: KeyRingSchemes = SCHEMES): string | null {
  const found = find(location, schemes)
  return typeof found === "string" ? found : null
}

function find(location: string, schemes: KeyRingSchemes) {
  const [, name] = /^([a-z][a-z0-9+.-]*):/i.exec(location) ?? []
  if (name === undefined) return { scheme: DIRECTORY, open: directoryAt(location) }
  const scheme = Object.entries(schemes).find(([known]) => known === name.toLowerCase())?.[1]
  if (scheme === undefined) {
    const known = ["a path", ...Object.values(schemes).map(({ example }) => example)]
    return `has the unknown scheme ${name.toLowerCase()}: (known are ${known.join(", ")})`
  }
  const open = scheme.parse(location)
  return typeof open === "string" ? open : { scheme, open }
}
