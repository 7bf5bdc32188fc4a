/**
 * Reads what people have of callbacks: one, an array, one a line, a log with callbacks in its lines, a table in CSV, a page of the
 * vendor's list; a gzip of each; in any mix of lines. The content decides, not the name. Memory does not grow with the input.
 */
import type { Said } from "./fields.ts"
import { type Reading, readingOf } from "./reading.ts"
import type { Read } from "./table-reader.ts"
import { textOf } from "./text.ts"

export interface SubmissionOptions {
  /** The input's name, for messages and for its lines. */
  readonly file?: string
  /** The only project that is wanted, in lower case; lines without a project are of this one. Default: any. */
  readonly projectId?: string
  /** Told how many bytes were read, each time: packed ones, if the input is packed. */
  onBytes?(bytes: number): void
}

/** A line of a submission, or an object of its JSON, and what it says. */
export type SubmittedLine = Said & {
  /** The number of the line that it begins on, from 1. */
  readonly line: number
  readonly file?: string
  /** The line or the object as it stands there, encrypted password included: never logged. Empty if it is too long to be kept. */
  readonly text: string
  /** The header of the table that the line is of. */
  readonly header?: string
}

/**
 * Reads `input`, and yields what its lines say. Empty lines, and comments (`# …` without a callback), are not
 * yielded. Throws `SubmissionError` if it is nothing of the kind, or where it can't be read any further; the reason of `signal`,
 * which is looked at between chunks; and what `input` throws.
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
