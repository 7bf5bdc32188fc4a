/** A key ring in a directory of PEM files, as Kubernetes mounts a secret. */
import { readdir, stat } from "node:fs/promises"
import { join } from "node:path"
import { isUnsealError, UnsealError } from "../errors.ts"
import { type Certificate, parseCertificates } from "../format/certificate.ts"
import { createKeyRing, type PrivateKey } from "../format/key-ring.ts"
import { type OaepHash, wipe } from "../format/password.ts"
import { utf8Of } from "../format/text.ts"
import { NotASmallFile, readSmallFile } from "../small-file.ts"
import type { KeyNote, KeyProblem, OpenedKeyRing } from "./contract.ts"
import { readPrivateKey } from "./private-key.ts"

export interface KeyDirectoryOptions {
  readonly oaepHash?: OaepHash
  /** How long a look at the directory is valid. Default 10 s. A password that no key fits causes a new look at once. */
  readonly refreshMs?: number
}

interface Entry {
  /** Changes whenever the key or its passphrase does. */
  readonly version: string
  readonly modifiedMs: number
  readonly key?: PrivateKey
  readonly certificates: readonly Certificate[]
  readonly isPublic?: boolean
  readonly error?: Error
}

/**
 * Opens the `*.pem` files of `directory` as a key ring, newest modified first. The passphrase of `NAME.pem` is beside it in
 * `NAME.passphrase`, without one trailing newline. The directory is read again as it changes, so keys rotate without a restart. A
 * file that turns bad keeps its old key. Certificates may lie beside the keys, where openssl's command puts them. Throws
 * `ERR_KEY_SERVICE_UNAVAILABLE` for a directory that is missing or can't be read.
 */
export async function openKeyDirectory(
  directory: string,
  options: KeyDirectoryOptions = {},
): Promise<OpenedKeyRing> {
  const refreshMs = options.refreshMs ?? 10_000
  let entries = new Map<string, Entry>()
  let ring = createKeyRing([], options.oaepHash)
  let ignored: readonly string[] = []
  let lookedAt = 0
  let looking: Promise<void> | undefined

  async function look(): Promise<void> {
    const at = Date.now()
    const next = new Map<string, Entry>()
    const files = await filesOf(directory)
    for (const name of files.pem) next.set(name, await readEntry(directory, name, entries.get(name)))
    entries = next
    ignored = files.ignored
    const usable = [...entries.values()].filter((entry) => entry.key !== undefined)
    usable.sort((a, b) => b.modifiedMs - a.modifiedMs)
    ring = createKeyRing(
      usable.map((entry) => entry.key!),
      options.oaepHash,
    )
    lookedAt = at
  }

  function refresh(): Promise<void> {
    looking ??= look().finally(() => {
      looking = undefined
    })
    return looking
  }

  const problems = () => [...entries].flatMap(([name, { error }]) => (error ? [{ name, error }] : []))

  await refresh()
  return {
    location: directory,
    problems,
    notes: () => [
      ...[...entries].flatMap(([name, { key, isPublic }]) => (key && isPublic ? [exposed(name)] : [])),
      ...ignored.map(passedOver),
    ],
    refresh,
    lookedAt: () => lookedAt,
    async close() {},
    certificates() {
      const ids = new Set(ring.describe().map((key) => key.keyId))
      return [...entries.values()]
        .flatMap((entry) => entry.certificates)
        .filter(({ keyId }) => ids.has(keyId))
    },
    describe: () => ring.describe(),
    async unwrap(encryptedPassword, signal) {
      if (Date.now() - lookedAt >= refreshMs) await refresh()
      const unwrapped = await ring.unwrap(encryptedPassword, signal)
      if (unwrapped !== null) return unwrapped
      // The right key may have just been mounted, so this looks once more before giving up on a recording.
      await refresh()
      const again = await ring.unwrap(encryptedPassword, signal)
      if (again === null && problems().length > 0)
        throw maybeAmong(problems(), ring.describe().length, directory)
      return again
    },
  }
}

const exposed = (name: string): KeyNote => ({
  ...{ name, kind: "exposed" },
  message: "key file can be read by every user of this machine",
})

const passedOver = (name: string): KeyNote => ({
  ...{ name, kind: "ignored" },
  message: name.endsWith(".passphrase")
    ? `${name} is ignored: there is no ${name.replace(/\.passphrase$/, ".pem")} beside it`
    : `${name} is ignored: its name does not end in .pem`,
})

/** The error for a password that no usable key fits while the files `bad` are unusable: one of them may fit. */
function maybeAmong(bad: readonly KeyProblem[], usable: number, directory: string): UnsealError {
  const { error } = bad[0]!
  const isOne = bad.length === 1
  const first = `${isOne ? ":" : "; the first:"} ${error.message}`
  const none = isOne ? "the only key file in" : `none of the ${bad.length} key files in`
  const some = isOne ? "a key file in" : `${bad.length} key files in`
  const fits = usable === 1 ? "the only usable key does not fit" : `none of ${usable} usable keys fits`
  const message =
    usable === 0
      ? `${none} ${directory} ${isOne ? "can't" : "can"} be used${first}`
      : `${fits}, and ${some} ${directory} can't be used${first}`
  return new UnsealError("ERR_KEY_SERVICE_UNAVAILABLE", message, { cause: error })
}

/** The names in `directory`: keys, and files that are ignored. A mounted volume has hidden entries of its own. */
async function filesOf(directory: string): Promise<{ pem: string[]; ignored: string[] }> {
  try {
    const names = (await readdir(directory)).sort()
    const pem = names.filter((name) => name.endsWith(".pem"))
    const isPassphrase = (name: string) =>
      name.endsWith(".passphrase") && pem.includes(name.replace(/\.passphrase$/, ".pem"))
    const ignored = names.filter(
      (name) => !name.endsWith(".pem") && !name.startsWith(".") && !isPassphrase(name),
    )
    return { pem, ignored }
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? "unreadable"
    throw new UnsealError(
      "ERR_KEY_SERVICE_UNAVAILABLE",
      `key directory ${directory} can't be read: ${reason}`,
      { cause },
    )
  }
}

async function readEntry(directory: string, name: string, before: Entry | undefined): Promise<Entry> {
  const path = join(directory, name)
  const passphrasePath = join(directory, name.replace(/\.pem$/, ".passphrase"))
  let version = "unreadable"
  let modifiedMs = before?.modifiedMs ?? 0
  try {
    const file = await stat(path)
    const passphraseFile = await stat(passphrasePath).catch(() => undefined)
    modifiedMs = file.mtimeMs
    version = [file, passphraseFile]
      .map((s) => (s ? `${s.ino}-${s.size}-${s.mtimeMs}-${s.mode}` : "none"))
      .join("/")
    if (before?.version === version) return before
    const { certificates, onlyCertificates, isPublic } = await lookInto(path, name)
    if (onlyCertificates) return { version, modifiedMs, certificates }
    const key = await readPrivateKey(path, { name, ...(passphraseFile ? { passphrasePath } : {}) })
    return { version, modifiedMs, key, certificates, isPublic }
  } catch (cause) {
    const error = isUnsealError(cause)
      ? cause
      : new UnsealError("ERR_KEY_INVALID", `${name} can't be read: ${reasonOf(cause)}`, { cause })
    const { key, certificates = [] } = before ?? {}
    return { version, modifiedMs, certificates, error, ...(key ? { key } : {}) }
  }
}

/** The certificates in a file, and whether it contains nothing else. An unreadable one does not prevent the use of the keys. */
async function lookInto(path: string, name: string) {
  const { content: pem, isPublic } = await readSmallFile(path)
  const text = utf8Of(pem)
  try {
    const isCertificate = text.includes("CERTIFICATE-----")
    const onlyCertificates = isCertificate && !text.includes("PRIVATE KEY-----")
    return { isPublic, onlyCertificates, certificates: isCertificate ? readable(text, name) : [] }
  } finally {
    wipe(pem, text)
  }
}

function readable(pem: Buffer, name: string): readonly Certificate[] {
  try {
    return parseCertificates(pem, name)
  } catch {
    return []
  }
}

const reasonOf = (error: unknown): string =>
  error instanceof NotASmallFile ? `it ${error.message}` : (error as Error).message
