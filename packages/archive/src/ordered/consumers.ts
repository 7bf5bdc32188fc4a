/** Feeds consumers that need an archive's bytes in order, although its parts finish in any order. */
import type { DecryptedPart } from "../decrypt/part.ts"
import type { ContentKey } from "../format/envelope.ts"
import { allEnded, createTurns } from "../waiting.ts"
import { createThreadHash, type ThreadHash } from "./hash-thread.ts"

/** Takes an archive's parts in order, for example for a digest or an authentication tag. */
export interface OrderedConsumer {
  /** Whether it needs a part's ciphertext, which takes extra memory. */
  readonly needsCiphertext?: boolean
  /** Takes any part but the last. Resolves when its bytes are no longer needed. */
  update(part: DecryptedPart, signal: AbortSignal): Promise<void>
  /** Takes the last part, or `undefined` if the archive has none. Resolves when the consumer has its result. */
  end(part: DecryptedPart | undefined, signal: AbortSignal): Promise<void>
  /** Must be called last by its creator. Abandons the work; does nothing after `end`. */
  close(): void
}

export interface OrderedConsumers {
  /**
   * Gives part `number`, counted from 1, to every consumer. Waits, with its memory held, until the parts before it are taken.
   * Resolves when every consumer has taken it. Rejects with the first consumer's failure, or with `signal.reason`.
   */
  take(number: number, part: DecryptedPart, signal: AbortSignal): Promise<void>
  /** Ends the consumers of an archive without parts. Otherwise the last part ends them. */
  end(signal: AbortSignal): Promise<void>
}

/** Whether any of `consumers` looks at the ciphertext. */
export const needsCiphertext = (consumers: readonly OrderedConsumer[]): boolean =>
  consumers.some((consumer) => consumer.needsCiphertext)

/** Feeds `consumers` with an archive of `last` parts. */
export function createOrderedConsumers(
  consumers: readonly OrderedConsumer[],
  last: number,
): OrderedConsumers {
  const turns = createTurns()
  const endAll = (part: DecryptedPart | undefined, signal: AbortSignal) =>
    allEnded(consumers.map((consumer) => consumer.end(part, signal)))
  return {
    async take(number, part, signal) {
      if (consumers.length === 0) return
      await turns.of(number, signal)
      if (number === last) await endAll(part, signal)
      else await allEnded(consumers.map((consumer) => consumer.update(part, signal)))
      turns.pass()
    },
    async end(signal) {
      if (last === 0) await endAll(undefined, signal)
    },
  }
}

/** A SHA-256 of an archive's whole plaintext or ciphertext. */
export interface OrderedDigest extends OrderedConsumer {
  /** In hex; `undefined` until `end` has resolved. */
  readonly hex: string | undefined
}

/** Creates a digest. The hash thread is first used with the first part. */
export function createOrderedDigest(of: "plaintext" | "ciphertext"): OrderedDigest {
  let hash: ThreadHash | undefined
  let hex: string | undefined
  const begun = () => (hash ??= createThreadHash())
  return {
    needsCiphertext: of === "ciphertext",
    get hex() {
      return hex
    },
    update: (part, signal) => begun().update(part[of], signal),
    async end(part, signal) {
      hex = await begun().digest(part?.[of], signal)
    },
    close: () => hash?.close(),
  }
}

/** Fails with `ERR_CIPHERTEXT_INVALID` if the archive was altered after encryption. `undefined` if its envelope can't tell. */
export function createOrderedAuthenticator(contentKey: ContentKey): OrderedConsumer | undefined {
  const authenticator = contentKey.envelope.createAuthenticator?.(contentKey)
  return (
    authenticator && {
      needsCiphertext: true,
      async update({ ciphertext }) {
        authenticator.update(ciphertext)
      },
      async end(part) {
        if (part !== undefined) authenticator.update(part.ciphertext)
        authenticator.final()
      },
      close: authenticator.close,
    }
  )
}
