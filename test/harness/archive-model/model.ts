/** What must be visible after any history: versions of the source, runs, and the verdict on each. */

import { createCipheriv } from "node:crypto"
import type { ErrorCode } from "../../../packages/archive/src/errors.ts"

export const KEY = "archive.ts"

// All versions share one content key, so that a mix of two of them would decrypt without an error.
export const contentKey = { key: Buffer.alloc(32, 1), iv: Buffer.alloc(16, 2) }

/** The object under the source key: whole packets and a padding, or 16-byte blocks, or not an encrypted archive. */
export type Content =
  | { readonly packets: number }
  | { readonly blocks: number }
  | { readonly broken: "cut" | "foreign" }

export interface RunOptions {
  readonly partSize: number
  /** Parts in memory at once. */
  readonly parts: number
  readonly digest: "sha256" | "none"
  readonly announced: boolean
  readonly tail: "keep" | "trim"
  readonly existing: "fail" | "replace"
  /** `none` like the command line, `last` like a job's last attempt. */
  readonly checkpoint: "kept" | "none"
}

/** A fault at one call to a store or the checkpoint. */
export interface Interruption {
  /** The number of the call in this run, from 1. */
  readonly call: number
  /** Before the call has an effect, or after it: an `after` at `complete` is an ambiguous answer. */
  readonly when: "before" | "after"
  readonly what: "crash" | "transient" | "permanent" | "abort" | "source" | "foreign"
}

export type Step =
  | { readonly do: "put"; readonly content: Content }
  | { readonly do: "remove"; readonly key: "source" | "destination" | "record" }
  | { readonly do: "foreign" }
  | { readonly do: "lose checkpoint" }
  | { readonly do: "run"; readonly options: RunOptions; readonly interruption?: Interruption }
  | { readonly do: "run twice at once"; readonly options: RunOptions }

/** A version of the source. */
export interface Version {
  readonly number: number
  readonly etag: string
  readonly ciphertext: Buffer
  readonly plaintext: Buffer
  /** Bytes of PKCS#7 padding at its end. */
  readonly padding: number
  readonly broken?: "cut" | "foreign"
}

/** The destination as the model knows it. `madeFrom` is absent for a foreign object. */
export interface Visible {
  readonly bytes: Buffer
  readonly madeFrom?: string
}

/** The reference: what exists, and how a run must end. */
export interface Model {
  source: Version | null
  destination: Visible | null
}

const markOf = (version: Version, tail: RunOptions["tail"]) => `version ${version.number}, tail ${tail}`

export function visibleFrom(version: Version, tail: RunOptions["tail"]): Visible {
  const size = version.plaintext.length - (tail === "trim" ? version.padding : 0)
  return { bytes: version.plaintext.subarray(0, size), madeFrom: markOf(version, tail) }
}

/** How a run must end if nothing interrupts it. */
export function verdict({ source, destination }: Model, { tail, existing }: RunOptions): ErrorCode | "done" {
  if (source === null) return "ERR_OBJECT_NOT_FOUND"
  const isOurs = destination !== null && destination.madeFrom === markOf(source, tail)
  if (destination !== null && !isOurs && existing === "fail") return "ERR_DESTINATION_EXISTS"
  if (source.broken === "cut") return "ERR_CIPHERTEXT_INVALID"
  return source.broken === "foreign" ? "ERR_NOT_MPEG_TS" : "done"
}

/** Arbitrary bytes that depend only on `number`, with a sync byte every 188. */
function transportStream(number: number, size: number): Buffer {
  const stream = createCipheriv("aes-128-ctr", Buffer.alloc(16), Buffer.alloc(16, number)).update(
    Buffer.alloc(size),
  )
  for (let at = 0; at < size; at += 188) stream[at] = 0x47
  return stream
}

export function makeVersion(number: number, content: Content): Omit<Version, "etag"> {
  if ("broken" in content) {
    const size = content.broken === "cut" ? 1003 : 1008
    const garbage = Buffer.alloc(size, number)
    return { number, ciphertext: garbage, plaintext: garbage, padding: 0, broken: content.broken }
  }
  const padding = "packets" in content ? 16 - ((content.packets * 188) % 16) : 0
  const size = "packets" in content ? content.packets * 188 : content.blocks * 16
  const plaintext = Buffer.concat([transportStream(number, size), Buffer.alloc(padding, padding)])
  const cipher = createCipheriv("aes-256-cbc", contentKey.key, contentKey.iv).setAutoPadding(false)
  return { number, ciphertext: Buffer.concat([cipher.update(plaintext), cipher.final()]), plaintext, padding }
}
