/** Objects of known content, and ways to write and read them whole. */

import { createCipheriv, createHash } from "node:crypto"
import { crc32 } from "node:zlib"
import type { ArchiveStore, CreateOptions, PartWriter, WrittenPart } from "@unseal/archive/store/contract"
import { expect } from "vitest"

export const MIB = 1024 * 1024

export const never = new AbortController().signal

export const PLAIN: CreateOptions = { contentType: "video/mp2t", metadata: {}, existing: "fail" }

/** Random-looking bytes that depend only on `seed`, so that a mix of two contents, or a shift, shows. */
export function sampleBytes(seed: string, size: number): Uint8Array {
  const key = createHash("sha256").update(seed).digest()
  return createCipheriv("aes-256-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(size))
}

/** Pieces of odd sizes, as a decryption makes them. */
export function inPieces(bytes: Uint8Array, pieceSize = 100_003): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += pieceSize) pieces.push(bytes.subarray(at, at + pieceSize))
  return pieces
}

export const partOf = (bytes: Uint8Array, number: number, partSize: number): Uint8Array =>
  bytes.subarray((number - 1) * partSize, number * partSize)

export const numbersOf = (size: number, partSize: number): number[] =>
  Array.from({ length: Math.ceil(size / partSize) }, (_, index) => index + 1)

export function writePart(writer: PartWriter, bytes: Uint8Array, number: number, signal = never) {
  const body = partOf(bytes, number, writer.partSize)
  return writer.writePart(number, inPieces(body), crc32(body), signal)
}

export async function writeParts(writer: PartWriter, bytes: Uint8Array): Promise<Map<number, WrittenPart>> {
  const parts = new Map<number, WrittenPart>()
  for (const number of numbersOf(bytes.length, writer.partSize))
    parts.set(number, await writePart(writer, bytes, number))
  return parts
}

/** Writes a whole object through the adapter. */
export async function write(
  store: ArchiveStore,
  key: string,
  bytes: Uint8Array,
  options: Partial<CreateOptions> = {},
) {
  const writer = await store.create(key, bytes.length, { ...PLAIN, ...options }, never)
  return writer.complete(await writeParts(writer, bytes), never)
}

export async function readAll(
  store: ArchiveStore,
  key: string,
  range?: { start: number; end: number },
): Promise<Uint8Array> {
  const object = await store.stat(key, never)
  if (!object) throw new Error(`no object ${key}`)
  const chunks: Uint8Array[] = []
  for await (const chunk of store.read(object, range ?? { start: 0, end: object.size }, never))
    chunks.push(Uint8Array.from(chunk))
  return Buffer.concat(chunks)
}

export async function drain(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = []
  for await (const chunk of chunks) all.push(Uint8Array.from(chunk))
  return Buffer.concat(all)
}

/** Unlike `toEqual`, takes no seconds for a part and does not print it. */
export function expectSameBytes(actual: Uint8Array | null, expected: Uint8Array): void {
  expect(actual?.length).toBe(expected.length)
  expect(Buffer.compare(actual!, expected)).toBe(0)
}
