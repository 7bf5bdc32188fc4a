/** The bytes of a submission as UTF-8 text: unpacked if they are a gzip, without a byte order mark, and from UTF-16 too. */
import { pipeline, Readable } from "node:stream"
import { createGunzip } from "node:zlib"
import { SubmissionError } from "./submission-error.ts"

/** Enough for every signature that identifies a kind of file. */
const MARK_BYTES = 512

const PACKED: readonly (readonly [kind: string, mark: string])[] = [
  ["a zip archive", "504b0304"],
  ["packed with zstd", "28b52ffd"],
  ["packed with xz", "fd377a585a00"],
  ["packed with bzip2", "425a68"],
  ["a 7-Zip archive", "377abcaf271c"],
  ["a Parquet file", "50415231"],
  ["a PDF", "25504446"],
]

/** `input` as chunks of UTF-8. `name` is for messages. Throws `SubmissionError`, and what `input` throws. */
export async function* textOf(input: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Buffer> {
  const { head, rest } = await split(input)
  if (isGzip(head)) {
    const { head: text, rest: more } = await split(unpacked(rest, name))
    yield* decoded(text, more, name)
  } else yield* decoded(head, rest, name)
}

const isGzip = (head: Buffer) => head[0] === 0x1f && head[1] === 0x8b

/** The first bytes of `input`, and all of it. */
async function split(
  input: AsyncIterable<Uint8Array>,
): Promise<{ head: Buffer; rest: AsyncGenerator<Buffer> }> {
  const iterator = input[Symbol.asyncIterator]()
  let head: Buffer = Buffer.alloc(0)
  let isAtEnd = false
  while (head.length < MARK_BYTES && !isAtEnd) {
    const { value, done } = await iterator.next()
    if (done) isAtEnd = true
    else head = head.length === 0 ? bufferOf(value) : Buffer.concat([head, value])
  }
  async function* rest() {
    try {
      if (head.length > 0) yield head
      while (!isAtEnd) {
        const { value, done } = await iterator.next()
        if (done) isAtEnd = true
        else yield bufferOf(value)
      }
    } finally {
      if (!isAtEnd) await iterator.return?.()
    }
  }
  return { head, rest: rest() }
}

const bufferOf = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

async function* unpacked(input: AsyncIterable<Buffer>, name: string): AsyncGenerator<Buffer> {
  const gunzip = createGunzip({ chunkSize: 256 * 1024 })
  // An error of the input destroys `gunzip` with the same error, so the loop below throws it.
  pipeline(Readable.from(input, { objectMode: false }), gunzip, () => {})
  try {
    yield* gunzip as AsyncIterable<Buffer>
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (!code?.startsWith("Z_")) throw error
    throw new SubmissionError(
      "ERR_SUBMISSION_BROKEN",
      code === "Z_BUF_ERROR"
        ? `${name} ends in the middle of its gzip: it was cut short; fetch it again`
        : `${name} is a damaged gzip (${code}): fetch it again`,
      { cause: error },
    )
  }
}

async function* decoded(head: Buffer, rest: AsyncGenerator<Buffer>, name: string): AsyncGenerator<Buffer> {
  const encoding = encodingOf(head)
  if (encoding === "utf-8") {
    refuseOtherFiles(head, name)
    let isFirst = true
    for await (const chunk of rest) {
      // Text has no zero byte. Encrypted or compressed data has one within the first few hundred bytes.
      if (isFirst && chunk.includes(0)) throw notText(name)
      yield isFirst && hasMark(chunk) ? chunk.subarray(3) : chunk
      isFirst = false
    }
    return
  }
  const decoder = new TextDecoder(encoding)
  for await (const chunk of rest) yield Buffer.from(decoder.decode(chunk, { stream: true }))
  yield Buffer.from(decoder.decode())
}

const hasMark = (chunk: Buffer) => chunk[0] === 0xef && chunk[1] === 0xbb && chunk[2] === 0xbf

function encodingOf([first, second]: Buffer): "utf-8" | "utf-16le" | "utf-16be" {
  if (first === 0xff && second === 0xfe) return "utf-16le"
  return first === 0xfe && second === 0xff ? "utf-16be" : "utf-8"
}

function refuseOtherFiles(head: Buffer, name: string): void {
  const hex = head.toString("hex")
  const packed = PACKED.find(([, mark]) => hex.startsWith(mark))
  if (packed !== undefined)
    throw new SubmissionError(
      "ERR_NOT_CALLBACKS",
      `${name} is ${packed[0]}: give the text itself, or a gzip of it`,
    )
  if (head.includes("-----BEGIN "))
    throw new SubmissionError(
      "ERR_NOT_CALLBACKS",
      `${name} is a key or a certificate: give the callbacks, which hold the encrypted passwords`,
    )
}

const notText = (name: string) =>
  new SubmissionError(
    "ERR_NOT_CALLBACKS",
    `${name} is not text: give callbacks in JSON, or a table in CSV, and not the recordings`,
  )
