import { counted } from "@unseal/archive/counted"
import { decryptArchive } from "@unseal/archive/decrypt/archive"
import { createByteBudget } from "@unseal/archive/decrypt/budget"
import { UnsealError } from "@unseal/archive/errors"
import type { TailRule } from "@unseal/archive/format/tail"
import { AsyncHeld } from "@unseal/archive/held"
import { readArchiveSettings } from "../config.ts"
import { Interrupted, UsageError } from "../terminal/exit.ts"
import { bytes, createProgress } from "../terminal/progress.ts"
import { type KeyOptions, readKeyRing } from "./key-options.ts"
import { removeLeftovers } from "./leftovers.ts"
import { type Location, openDestination, openSource } from "./location.ts"
import { type PasswordOptions, readGivenPassword } from "./password-options.ts"
import { isSameObject } from "./same-object.ts"

export interface DecryptCommandOptions extends PasswordOptions, KeyOptions {
  readonly tail?: TailRule
  readonly overwrite?: true
  readonly requireSize?: true
  /** Percent. */
  readonly maxDamage?: number
  readonly digest?: true
  readonly json?: true
}

/** Part memory for a single archive: eight parts of the usual size. */
const BUDGET_BYTES = 64 * 1024 * 1024

/** `unseal decrypt SOURCE DESTINATION`: decrypts one archive directly, without a queue. */
export async function decryptCommand(
  from: string,
  to: string,
  options: DecryptCommandOptions,
  signal: AbortSignal,
): Promise<void> {
  const settings = readArchiveSettings()
  if (from === "-" && [options.callback, options.passwordFile].includes("-"))
    throw new UsageError(
      "standard input can't be both the archive and its password: give one of them as a file",
    )
  const given = await readGivenPassword(options, signal)
  // If the plaintext goes to standard output, nothing else may.
  const print = (text: string) => (to === "-" ? process.stderr : process.stdout).write(`${text}\n`)
  const say = (text: string) => process.stderr.write(`${text}\n`)
  if (given.encryptedPassword === undefined) {
    if (options.json) print(JSON.stringify({ outcome: "not-encrypted", archiveId: given.archiveId }))
    say("the callback has no password: this archive is not encrypted, and nothing was written")
    return
  }
  if (options.requireSize && given.size === undefined)
    throw new UsageError(
      options.callback === undefined
        ? "--require-size compares the source with the size in a callback: give --callback FILE.json"
        : `--require-size has nothing to compare with: ${options.callback} announces no size`,
    )
  const keyRing = await readKeyRing(options, settings.UNSEAL_OAEP_HASH, settings.UNSEAL_KEYS, signal)
  await using held = new AsyncHeld()
  held.defer(keyRing.close)
  const destination = await openDestination(to, signal)
  const progress = createProgress(
    from === "-"
      ? "decrypting"
      : from
          .replace(/[?#].*/s, "")
          .split("/")
          .at(-1)!,
  )
  const startedAt = performance.now()
  try {
    if (!options.overwrite) await refuseExistingArchive(destination, signal)
    const source = await openSource(from, signal, (done) =>
      progress.count(done, "reading before anything is decrypted:"),
    )
    try {
      if (await isSameObject(source, destination))
        throw new UsageError(
          `${from} and ${to} are the same object: the plaintext would replace the ciphertext`,
        )
      await cleanUp(destination, signal)
      const { outcome, record } = await decryptArchive(
        {
          archiveId: given.archiveId ?? "",
          projectId: given.projectId ?? "",
          encryptedPassword: given.encryptedPassword,
          source: source.store,
          sourceKeys: [source.key],
          destination: destination.store,
          destinationKey: destination.key,
          announced: {
            ...(given.size === undefined ? {} : { size: given.size }),
            ...(given.sha256sum === undefined ? {} : { sha256sum: given.sha256sum }),
          },
        },
        {
          keyRing,
          budget: createByteBudget(BUDGET_BYTES),
          tail: options.tail ?? settings.UNSEAL_TAIL,
          digest: options.digest || options.json ? "sha256" : "none",
          maxDamage: (options.maxDamage ?? settings.UNSEAL_MAX_DAMAGE) / 100,
          announcedSize: options.requireSize ? "require" : settings.UNSEAL_ANNOUNCED_SIZE,
          // What went to standard output can't be read back.
          verify: to === "-" ? "size" : settings.UNSEAL_VERIFY,
          existing: options.overwrite ? "replace" : "fail",
          record: false,
          observe: { progress: progress.update },
        },
        signal,
      )
      progress.end()
      const seconds = (performance.now() - startedAt) / 1000
      if (options.json) print(JSON.stringify({ outcome, ...record }))
      else if (options.digest) print(`${record.sha256?.plaintext}  ${to}`)
      if (outcome === "empty") say("the archive is empty (0 bytes): nothing was published in its session")
      if (record.announced?.fits === false)
        say(
          `warning: ${source.name} has ${counted(record.source.size, "byte")}, but the callback announced ${record.announced.size}: ${record.source.size < record.announced.size ? "it may have been cut short" : "it may be another archive's"}`,
        )
      if (record.media.syncErrors > 0)
        say(
          `damaged: ${record.media.syncErrors} of ${counted(record.media.packets, "packet")} without a sync byte`,
        )
      say(
        `${bytes(record.destination.size)} in ${seconds.toFixed(1)} s to ${destination.name} (tail ${describeTail(record.tail)})`,
      )
    } finally {
      await source.store.close()
    }
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error
    // What went to a pipe can't be taken back.
    const left =
      destination.url === undefined
        ? `${destination.name} may have a part of the plaintext`
        : "nothing was left behind"
    throw new Interrupted(`${error.message}; ${left}`)
  } finally {
    progress.end()
    await destination.store.close()
  }
}

async function refuseExistingArchive(
  { store, key, name }: Awaited<ReturnType<typeof openDestination>>,
  signal: AbortSignal,
): Promise<void> {
  const existing = await store.stat(key, signal)
  if (existing !== null)
    throw new UnsealError(
      "ERR_DESTINATION_EXISTS",
      `${name} exists already (${counted(existing.size, "byte")}): give --overwrite to replace it`,
    )
}

/** Removes what killed earlier runs to this file left. */
async function cleanUp({ store, path }: Location, signal: AbortSignal): Promise<void> {
  if (path === undefined) return
  for (const { name, bytes: left } of await removeLeftovers(store, path, signal))
    process.stderr.write(`removed ${name} (${bytes(left)} of plaintext), which a killed run had left\n`)
}

function describeTail(tail: { form: string; padding: number }): string {
  return tail.form === "pkcs7" ? `PKCS#7 of ${counted(tail.padding, "byte")}` : tail.form
}
