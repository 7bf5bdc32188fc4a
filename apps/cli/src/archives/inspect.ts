import { UnsealError } from "@unseal/archive/errors"
import { labelOf } from "@unseal/archive/format/envelopes"
import { explainNoMatch } from "@unseal/archive/format/key-ring"
import { decodeEncryptedPassword, parsePassword, wipe } from "@unseal/archive/format/password"
import { AsyncHeld } from "@unseal/archive/held"
import { readArchiveSettings } from "../config.ts"
import { type KeyOptions, readKeyRing } from "./key-options.ts"
import { type PasswordOptions, readGivenPassword } from "./password-options.ts"

/** `unseal inspect`: shows a password's properties and the key that opens it, but never the content key. */
export async function inspectCommand(
  options: PasswordOptions & KeyOptions & { readonly json?: true },
  signal: AbortSignal,
): Promise<void> {
  const settings = readArchiveSettings()
  const given = await readGivenPassword(options, signal)
  const print = (facts: Record<string, string | number>) =>
    process.stdout.write(
      options.json
        ? `${JSON.stringify(facts)}\n`
        : Object.entries(facts)
            .map(([name, value]) => `${name.padEnd(14)} ${value}\n`)
            .join(""),
    )
  const archive = given.archiveId === undefined ? {} : { archiveId: given.archiveId }
  if (given.encryptedPassword === undefined) return void print({ ...archive, encrypted: "no" })

  const wrapped = decodeEncryptedPassword(given.encryptedPassword)
  const ring = await readKeyRing(options, settings.UNSEAL_OAEP_HASH, settings.UNSEAL_KEYS, signal)
  await using held = new AsyncHeld()
  held.defer(ring.close)
  const unwrapped = await ring.unwrap(wrapped, signal)
  if (unwrapped === null) throw new UnsealError("ERR_NO_MATCHING_KEY", explainNoMatch(ring, wrapped))
  try {
    const { envelope, key, iv } = parsePassword(unwrapped.password)
    wipe(key, iv)
    const description = ring.describe().find((key) => key.keyId === unwrapped.keyId)!
    print({
      ...archive,
      encrypted: "yes",
      wrappedBytes: wrapped.length,
      passwordBytes: unwrapped.password.length,
      version: envelope.version.value,
      algorithm: labelOf(envelope.algorithm),
      mode: labelOf(envelope.mode),
      key: description.name,
      keyId: description.keyId,
      keyBits: description.modulusBits,
    })
  } finally {
    wipe(unwrapped.password)
  }
}
