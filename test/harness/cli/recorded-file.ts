/** Archives in files, for commands that take them by name. */
import type { KeyObject } from "node:crypto"
import { createWriteStream } from "node:fs"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import { makeRecording } from "@unseal/simulator/recording/recording"

/** The plaintext that archives repeat up to their size: 12 s of MPEG-TS. */
export const sample = await readFile(join(import.meta.dirname, "../../vectors/audio-only-12s.mpegts"))

/** Writes an archive of exactly `size` bytes to `file`. Resolves to its encrypted password. */
export async function recordTo(file: string, size: number, publicKey: KeyObject): Promise<string> {
  const tail = size % 188 === 0 ? "none" : "zero"
  const recording = makeRecording({ sample, publicKey, size, exact: true, tail })
  await pipeline(recording.ciphertext, createWriteStream(file))
  return recording.encryptedPassword
}
