/** The first look at what a project needs, before any archive: whether its stores answer, and which keys it has. */
import { isUnsealError } from "./errors.ts"
import type { OpenedKeyRing } from "./keys/contract.ts"
import type { ArchiveSource } from "./store/contract.ts"
import { rest } from "./waiting.ts"

/** An id that no archive has. Looking for it shows whether the store answers. */
export const NO_ARCHIVE = "00000000-0000-0000-0000-000000000000"

/** Nobody answered within the limit. */
export class NoAnswerError extends Error {
  override readonly name = "NoAnswerError"

  constructor(limitMs: number) {
    super(`no answer within ${limitMs} ms`)
  }
}

/**
 * The result of `work`. Rejects with `NoAnswerError` after `limitMs`, or with the reason of `signal`. Then the signal that `work`
 * got is aborted, and what it still does goes on unseen.
 */
export async function answerWithin<T>(
  limitMs: number,
  signal: AbortSignal,
  work: (limited: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController()
  const limited = AbortSignal.any([signal, limit.signal])
  const late = rest(limitMs, limited).then(() => {
    throw new NoAnswerError(limitMs)
  })
  try {
    return await Promise.race([work(limited), late])
  } finally {
    limit.abort()
  }
}

/** Resolves if the store answers a look at `key`, whether it is there or not. Throws `NoAnswerError`, and the store's errors. */
export async function lookAtStore(
  store: Pick<ArchiveSource, "stat">,
  key: string,
  { signal, limitMs }: { readonly signal: AbortSignal; readonly limitMs: number },
): Promise<void> {
  await answerWithin(limitMs, signal, (limited) => store.stat(key, limited))
}

/** A key of a ring, and when its certificate expires if one is beside it. */
export interface SeenKey {
  readonly keyId: string
  readonly file: string
  /** Bits of the RSA modulus. */
  readonly modulusBits: number
  readonly expires?: Date
}

/** The keys that an open ring can use, and what is wrong with it, one clause each. */
export function lookAtKeys(keyRing: OpenedKeyRing): {
  readonly keys: readonly SeenKey[]
  readonly problems: readonly string[]
} {
  const expiries = new Map<string, Date>()
  // A renewed certificate has the same key, so the later date counts.
  for (const { keyId, notAfter } of keyRing.certificates())
    if (notAfter > (expiries.get(keyId) ?? new Date(0))) expiries.set(keyId, notAfter)
  const keys = keyRing.describe().map(({ keyId, name, modulusBits }) => {
    const expires = expiries.get(keyId)
    return { keyId, file: name, modulusBits, ...(expires !== undefined && { expires }) }
  })
  return {
    keys,
    problems: [
      ...(keys.length === 0 ? [withoutKeys(keyRing)] : []),
      ...keyRing.problems().map(({ name, error }) => `${name} can't be used: ${clauseOf(error)}`),
    ],
  }
}

/** The likeliest reason for a directory without a key is a key with another name than `*.pem`. */
function withoutKeys(keyRing: OpenedKeyRing): string {
  const ignored = keyRing.notes().filter(({ kind }) => kind === "ignored")
  const why = ignored.slice(0, 3).map(({ message }) => message)
  return [`${keyRing.location} holds no usable key`, ...why].join("; ")
}

/**
 * `error` as a clause with its remedy. Only our own messages are known to hold no secret. Of any other error, only the name is
 * shown.
 */
export function clauseOf(error: unknown): string {
  if (isUnsealError(error)) return `${error.code}: ${error.message}; ${error.remedy}`
  if (error instanceof NoAnswerError) return error.message
  return error instanceof Error ? error.name : typeof error
}
