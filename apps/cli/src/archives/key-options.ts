import { stat } from "node:fs/promises"
import { createKeyRing, type PrivateKey } from "@unseal/archive/format/key-ring"
import type { OaepHash } from "@unseal/archive/format/password"
import type { OpenedKeyRing } from "@unseal/archive/keys/contract"
import { keyRingProblem, openKeyRing } from "@unseal/archive/keys/open"
import { readPrivateKey } from "@unseal/archive/keys/private-key"
import { UsageError } from "../terminal/exit.ts"
import { unread } from "../terminal/unread.ts"

export interface KeyOptions {
  readonly key: readonly string[]
  readonly passphraseFile?: string
}

/** The parts of a key ring that a command uses. It closes the ring at its end. */
type CommandKeyRing = Pick<OpenedKeyRing, "unwrap" | "describe" | "close">

/**
 * The ring of the keys given by `--key`, in that order; without any, the ring at `location`, a path or URL. The passphrase of a
 * protected key comes from `--passphrase-file`, or else from the file beside it (`key.passphrase` for `key.pem`). Throws the errors
 * of `readPrivateKey`, and `UsageError` for an unreadable file.
 */
export async function readKeyRing(
  options: KeyOptions,
  oaepHash: OaepHash,
  location: string | undefined,
  signal: AbortSignal,
): Promise<CommandKeyRing> {
  if (options.key.length === 0) {
    if (location === undefined)
      throw new UsageError("which private key? give --key FILE, or set UNSEAL_KEYS to their directory")
    return openConfigured(location, oaepHash)
  }
  const keys: PrivateKey[] = []
  for (const path of options.key) {
    if (await isDirectory(path))
      throw new UsageError(
        `${path} is a directory: name the key in it, or set UNSEAL_KEYS to it instead of --key`,
      )
    const beside = `${path.replace(/\.[^./]*$/, "")}.passphrase`
    const passphrasePath = options.passphraseFile ?? ((await isFile(beside)) ? beside : undefined)
    try {
      const beside = passphrasePath === undefined ? {} : { passphrasePath }
      keys.push(await readPrivateKey(path, { pipes: signal, ...beside }))
    } catch (error) {
      signal.throwIfAborted()
      const { path: failed } = error as NodeJS.ErrnoException
      if (failed === undefined) throw error
      throw unread(failed, error)
    }
  }
  return { ...createKeyRing(keys, oaepHash), async close() {} }
}

/**
 * Opens the ring that `UNSEAL_KEYS` names. Throws `UsageError` if it is unusable or has no key: the user at the terminal set it.
 */
async function openConfigured(location: string, oaepHash: OaepHash): Promise<CommandKeyRing> {
  const problem = keyRingProblem(location)
  if (problem !== null) throw new UsageError(`UNSEAL_KEYS ${problem}`)
  const refuse = (what: string, next: string): never => {
    throw new UsageError(`UNSEAL_KEYS is ${location}, which ${what}: ${next}, or give --key FILE`)
  }
  const ring = await openKeyRing(location, { oaepHash }).catch((error: Error) => {
    const { code } = (error.cause ?? {}) as NodeJS.ErrnoException
    if (code === "ENOENT") return refuse("does not exist", "check the path")
    if (code === "ENOTDIR") return refuse("is not a directory", "name the directory that the key is in")
    if (code === "EACCES") return refuse("this user may not read", "change its permissions")
    throw error
  })
  if (ring.describe().length > 0 || ring.problems().length > 0) return ring
  const ignored = ring.notes().flatMap(({ kind, name }) => (kind === "ignored" ? [name] : []))
  const others =
    ignored.length === 0
      ? ""
      : `; ${ignored.slice(0, 3).join(", ")} ${ignored.length === 1 ? "is" : "are"} not looked into`
  return refuse(`holds no file NAME.pem with a private key${others}`, "put the key there")
}

const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (stats) => stats.isFile(),
    () => false,
  )

const isDirectory = (path: string): Promise<boolean> =>
  stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  )
