/**
 * A run leaves a checkpoint in Redis, where others can write. Data from there goes into a record only with a proof that requires
 * the archive's content key.
 */
import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto"
import type { ContentKey } from "../format/envelope.ts"
import type { CheckpointUpload, PartReceipt } from "./checkpoint.ts"

/** Results of a run's work that are the same each time, in a fixed order. */
type Facts = readonly (string | number)[]

export interface Prover {
  /** The proof of `facts`, as text. */
  prove(...facts: Facts): string
  /** Whether `proof` is that of exactly these facts. */
  confirms(proof: string | undefined, ...facts: Facts): boolean
  /** Wipes the key. Nothing may follow. */
  close(): void
}

/** Creates a prover. Its key is derived from `contentKey` (HKDF, RFC 5869) and reveals nothing about it. */
export function createProver(contentKey: ContentKey): Prover {
  const key = new Uint8Array(hkdfSync("sha256", contentKey.key, contentKey.iv, "unseal checkpoint 1", 32))
  // JSON gives different lists of facts different texts.
  const digest = (facts: Facts) => createHmac("sha256", key).update(JSON.stringify(facts)).digest()
  return {
    prove: (...facts) => digest(facts).toString("base64url"),
    confirms(proof, ...facts) {
      const given = Buffer.from(proof ?? "", "base64url")
      const right = digest(facts)
      return given.length === right.length && timingSafeEqual(given, right)
    },
    close: () => void key.fill(0),
  }
}

/** The facts of part `number` of `upload`. */
export const receiptFacts = (
  upload: CheckpointUpload,
  number: number,
  { size, tag, crc32, syncErrors }: PartReceipt,
): Facts => [
  ...["receipt", upload.token, upload.destinationKey, upload.sourceKey, upload.sourceEtag],
  ...[upload.sourceSize, upload.plaintextSize, upload.partSize],
  ...[number, size, tag, crc32, syncErrors],
]
