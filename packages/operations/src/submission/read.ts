/**
 * Reads callbacks in every form that people keep them in: a single one, an array, one a line, a log with callbacks in its lines,
 * a table in CSV, or a page of the vendor's list. Forms of lines may be mixed, and each input may be a gzip. The content decides,
 * not the file's name. Memory does not grow with the input.
 */
import type { Said } from "./fields.ts"
import { type Reading, readingOf } from "./reading.ts"
import type { Read } from "./table-reader.ts"
import { textOf } from "./text.ts"

export interface SubmissionOptions {
  /** The input's name, for messages and for its lines. */
  readonly file?: string
  /** The only project that is wanted, in lower case. Lines without a project belong to it. Default: any. */
  readonly projectId?: string
  /** Called with the bytes of each read. A gzip's bytes count as they are, packed. */
  onBytes?(bytes: number): void
}

/** A line of a submission, or an object of its JSON, and what it says. */
export type SubmittedLine = Said & {
  /** The number of the line that it begins on, from 1. */
  readonly line: number
  readonly file?: string
  /** The line or the object, unchanged. It has the encrypted password, so never log it. Empty if it is too long to be kept. */
  readonly text: string
  /** The header of the table that the line belongs to. */
  readonly header?: string
}

/**
 * Reads `input`, and yields what its lines say. Empty lines, and comments (`# …` without a callback), are not
 * yielded. Throws `SubmissionError` if the input holds neither callbacks nor a table, and at the place from which it can't be
 * read. Throws the reason of `signal`, which is checked between chunks, and what `input` throws.
 */
export async function* readSubmission(
  input: AsyncIterable<Uint8Array>,
  options: SubmissionOptions,
  signal: AbortSignal,
): AsyncGenerator<SubmittedLine> {
  const { file, projectId } = options
  const name = file ?? "the input"
  const text = textOf(counted(input, options, signal), name)
  for await (const { line, text: own, said, header } of linesIn(text, name, projectId))
    yield {
      line,
      text: own ?? "",
      ...said,
      ...(file !== undefined && { file }),
      ...(header !== undefined && { header }),
    }
}

async function* counted(
  bytes: AsyncIterable<Uint8Array>,
  { onBytes }: SubmissionOptions,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  signal.throwIfAborted()
  for await (const chunk of bytes) {
    signal.throwIfAborted()
    onBytes?.(chunk.length)
    yield chunk
  }
}

async function* linesIn(
  text: AsyncIterable<Buffer>,
  name: string,
  projectId: string | undefined,
): AsyncGenerator<Read> {
  let head: Buffer = Buffer.alloc(0)
  let reading: Reading | undefined
  for await (const chunk of text) {
    if (reading === undefined) {
      head = head.length === 0 ? chunk : Buffer.concat([head, chunk])
      reading = readingOf(head, false, name, projectId)
      if (reading !== undefined) yield* reading.push(head)
    } else yield* reading.push(chunk)
  }
  if (reading === undefined) {
    reading = readingOf(head, true, name, projectId)!
    yield* reading.push(head)
  }
  yield* reading.end()
}
