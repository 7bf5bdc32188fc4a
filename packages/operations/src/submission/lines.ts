/** Splits text into lines, in bounded memory. */

/** Bytes. A callback has at most 16 kB, and a log line a few times more. */
export const LONGEST_TEXT = 1024 * 1024

/** A line with its number, from 1. `null` for the text of a line that is longer than `LONGEST_TEXT`. */
export interface Line {
  readonly line: number
  readonly text: string | null
}

const LINE_FEED = 0x0a

/** Takes text in chunks and gives its lines, without their ends (LF or CR LF). */
export class LineSplitter {
  #line = 1
  #parts: Buffer[] = []
  #length = 0

  /** The lines that end in `chunk`. */
  push(chunk: Buffer): Line[] {
    const lines: Line[] = []
    let start = 0
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      this.#add(chunk.subarray(start, end))
      lines.push(this.#take())
      start = end + 1
    }
    this.#add(chunk.subarray(start))
    return lines
  }

  /** The last line, if it has no end. */
  end(): Line[] {
    return this.#length === 0 ? [] : [this.#take()]
  }

  #add(bytes: Buffer): void {
    this.#length += bytes.length
    if (this.#length > LONGEST_TEXT) this.#parts = []
    else if (bytes.length > 0) this.#parts.push(bytes)
  }

  #take(): Line {
    const isTooLong = this.#length > LONGEST_TEXT
    const bytes = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts)
    const text = isTooLong ? null : bytes.toString().replace(/\r$/, "")
    this.#parts = []
    this.#length = 0
    return { line: this.#line++, text }
  }
}
